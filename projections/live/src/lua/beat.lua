-- Writes the pulse by Redis's own clock, if this instance still owns the state. While the lag is not known only that somebody
-- holds the state is written: nobody is told a freshness that nobody knows.
-- KEYS: meta, pulse. ARGV: owner, generation, lag in facts, lag in milliseconds ('' for both where it is not known)
-- Answers: 'ok', 'lost' or 'fenced:'.
local meta = redis.call('HMGET', KEYS[1], 'owner', 'generation')
if not meta[2] then return 'lost' end
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return 'fenced:' end
local now = redis.call('TIME')
local at = string.format('%d', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('HSET', KEYS[2], 'held', at)
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'at', at, 'lagFacts', ARGV[3], 'lagMillis', ARGV[4]) end
return 'ok'
