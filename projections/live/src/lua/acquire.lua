-- Takes hold of partitions: becomes the owner and raises their epochs; first makes a new state where asked to.
-- KEYS: meta, progress, board, agents, calls, deltas, parked
-- ARGV: owner, generation and seq as read ('' where there was none), '1' to make the state anew, generation from now on, format,
--       settings, root, run id of this Redis, number of board entries, (path, json)…, names of partitions…
-- Answers: 'again' where the state changed since it was read; else a list of next, epoch for each partition.
local meta = redis.call('HMGET', KEYS[1], 'generation', 'seq')
if (meta[1] or '') ~= ARGV[2] or (meta[2] or '') ~= ARGV[3] then return 'again' end
local at = 10
local entries = tonumber(ARGV[at])
if ARGV[4] == '1' then
    -- Epochs outlive the state where they can: an instance of the old life must never meet its own numbers again.
    local progress = redis.call('HGETALL', KEYS[2])
    redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
    for i = 1, #progress, 2 do
        if string.sub(progress[i], -6) == '/epoch' then redis.call('HSET', KEYS[2], progress[i], progress[i + 1]) end
    end
    local time = redis.call('TIME')
    redis.call('HSET', KEYS[1], 'format', ARGV[6], 'settings', ARGV[7], 'seq', 0, 'version', 0, 'root', ARGV[8],
        'made', string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000)))
    for i = at + 1, at + entries * 2, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'generation', ARGV[5], 'run', ARGV[9])
local positions = {}
for i = at + 1 + entries * 2, #ARGV do
    local name = ARGV[i]
    local epoch = redis.call('HINCRBY', KEYS[2], name .. '/epoch', 1)
    redis.call('HSETNX', KEYS[2], name .. '/next', 0)
    positions[#positions + 1] = tonumber(redis.call('HGET', KEYS[2], name .. '/next'))
    positions[#positions + 1] = epoch
end
return positions
