-- Applies one batch, or nothing. Every compare comes before the first write.
-- KEYS: meta, progress, board, agents, calls, deltas, parked
-- ARGV: owner, generation, seq, size of board, agents, calls, token, version, root, heard, delta ('' for none),
--       deltas kept, bytes of deltas kept, then lists, each led by its number of entries:
--       slices (name, epoch, from, to), board sets (path, json), board removes, agents (id, memory), calls (id, memory),
--       calls dropped, parked (name and offset, entry)
-- Answers: 'ok', 'lost', 'free' where nobody owns the state any more, 'rewound' where it is older than what this owner wrote, or
--          'fenced:' and the slice's name ('' where the whole state has another owner).
local meta = redis.call('HMGET', KEYS[1], 'owner', 'generation', 'seq', 'parked')
if not meta[2] then return 'lost' end
if not meta[1] then return 'free' end
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return 'fenced:' end
if meta[3] ~= ARGV[3] then
    -- Its owner alone writes it. Versions that readers saw are gone: what follows must not bear their names.
    if tonumber(meta[3]) < tonumber(ARGV[3]) then
        redis.call('HDEL', KEYS[1], 'run')
        return 'rewound'
    end
    return 'fenced:'
end

local at = 14
local function list(width)
    local count = tonumber(ARGV[at])
    local first = at + 1
    at = first + count * width
    return first, at - 1
end

local first_slice, last_slice = list(4)
for i = first_slice, last_slice, 4 do
    local name = ARGV[i]
    local held = redis.call('HMGET', KEYS[2], name .. '/epoch', name .. '/next')
    if not held[1] then return 'lost' end
    if held[1] ~= ARGV[i + 1] or held[2] ~= ARGV[i + 2] then return 'fenced:' .. name end
end
for i = 0, 2 do
    if redis.call('HLEN', KEYS[3 + i]) ~= tonumber(ARGV[4 + i]) then return 'lost' end
end
if redis.call('HLEN', KEYS[7]) ~= tonumber(meta[4] or 0) then return 'lost' end
if ARGV[11] ~= '' then
    local newest = redis.call('XREVRANGE', KEYS[6], '+', '-', 'COUNT', 1)
    if newest[1] and tonumber(string.match(newest[1][1], '^%d+')) >= tonumber(ARGV[8]) then return 'lost' end
end

redis.call('HSET', KEYS[1], 'seq', tonumber(ARGV[3]) + 1, 'token', ARGV[7], 'version', ARGV[8], 'root', ARGV[9],
    'heard', ARGV[10])
for i = first_slice, last_slice, 4 do
    redis.call('HSET', KEYS[2], ARGV[i] .. '/next', ARGV[i + 3])
end
local first, last = list(2)
for i = first, last, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
first, last = list(1)
for i = first, last do redis.call('HDEL', KEYS[3], ARGV[i]) end
first, last = list(2)
for i = first, last, 2 do redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1]) end
first, last = list(2)
for i = first, last, 2 do redis.call('HSET', KEYS[5], ARGV[i], ARGV[i + 1]) end
first, last = list(1)
for i = first, last do redis.call('HDEL', KEYS[5], ARGV[i]) end
first, last = list(2)
for i = first, last, 2 do redis.call('HSETNX', KEYS[7], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], 'parked', redis.call('HLEN', KEYS[7]))
if ARGV[11] ~= '' then
    tell(KEYS[1], KEYS[6], ARGV[2], ARGV[8], ARGV[11], ARGV[12], ARGV[13])
end
return 'ok'
