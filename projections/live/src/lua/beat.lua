-- Writes the pulse by Redis's own clock, if this instance still owns the state.
-- KEYS: meta, pulse. ARGV: owner, generation, lag in facts, lag in milliseconds
-- Answers: 'ok', 'lost' or 'fenced:'.
local meta = redis.call('HMGET', KEYS[1], 'owner', 'generation')
if not meta[2] then return 'lost' end
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return 'fenced:' end
local now = redis.call('TIME')
redis.call('HSET', KEYS[2], 'at', string.format('%d', now[1] * 1000 + math.floor(now[2] / 1000)),
    'lagFacts', ARGV[3], 'lagMillis', ARGV[4])
return 'ok'
