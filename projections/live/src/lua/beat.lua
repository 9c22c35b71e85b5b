-- Writes the pulse by Redis's own clock, if this instance still owns the state. While the lag is not known only that somebody
-- holds the state is written: nobody is told a freshness that nobody knows. What is known is told as of when it was measured.
-- KEYS: meta, pulse. ARGV: owner, generation, seq, lag in facts, lag in milliseconds, how many milliseconds ago it was measured
--       ('' for all three where it is not known)
-- Answers: 'ok', 'lost', 'free' where nobody owns the state any more, 'rewound' where the state is older than what this owner wrote, or 'fenced:'.
local meta = redis.call('HMGET', KEYS[1], 'owner', 'generation', 'seq')
if not meta[2] then return 'lost' end
if not meta[1] then return 'free' end
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return 'fenced:' end
if tonumber(meta[3]) < tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], 'run')
    return 'rewound'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[2], 'held', string.format('%d', now))
if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[2], 'at', string.format('%d', now - ARGV[6]), 'lagFacts', ARGV[4], 'lagMillis', ARGV[5])
end
return 'ok'
