-- Exchanges the live state with the standby, or does nothing. Every compare comes before the first write; the first write is a
-- rename, which a full Redis does not refuse.
-- Of the live state stay: what readers follow (generation, version, deltas), and where and under which epochs it has read the log.
-- KEYS: meta, progress, board, agents, calls, deltas, parked; the same of the standby; a name that nobody uses
-- ARGV: owner and seq of the live state as read, owner and seq of the standby as read, version from now on, delta ('' where the
--       two show the same), deltas kept, bytes of deltas kept, generation of what is live until now
-- Answers: 'ok'; 'taken' where either is not as it was read; 'apart' where the two have not read the log equally far.
local live = redis.call('HMGET', KEYS[1], 'owner', 'seq', 'generation', 'run', 'deltaBytes')
local standby = redis.call('HMGET', KEYS[8], 'owner', 'seq')
if live[1] ~= ARGV[1] or live[2] ~= ARGV[2] or standby[1] ~= ARGV[3] or standby[2] ~= ARGV[4] then return 'taken' end

local function next_offsets(key)
    local next_of = {}
    local progress = redis.call('HGETALL', key)
    for i = 1, #progress, 2 do
        if string.sub(progress[i], -5) == '/next' and progress[i + 1] ~= '0' then next_of[progress[i]] = progress[i + 1] end
    end
    return next_of
end
local here, there = next_offsets(KEYS[2]), next_offsets(KEYS[9])
for name, at in pairs(here) do
    if there[name] ~= at then return 'apart' end
end
for name, at in pairs(there) do
    if here[name] ~= at then return 'apart' end
end

local function rename(from, to)
    if redis.call('EXISTS', from) == 1 then redis.call('RENAME', from, to) end
end
for _, i in ipairs({1, 3, 4, 5, 7}) do
    rename(KEYS[i], KEYS[15])
    rename(KEYS[i + 7], KEYS[i])
    rename(KEYS[15], KEYS[i + 7])
end
-- Nobody owns it: whoever did sees that, and takes it anew.
redis.call('HDEL', KEYS[1], 'owner', 'left', 'deltaBytes')
redis.call('HSET', KEYS[1], 'generation', live[3], 'run', live[4], 'seq', tonumber(ARGV[2]) + 1, 'version', ARGV[5])
if live[5] then redis.call('HSET', KEYS[1], 'deltaBytes', live[5]) end
local time = redis.call('TIME')
redis.call('HDEL', KEYS[8], 'owner', 'deltaBytes')
redis.call('HSET', KEYS[8], 'generation', ARGV[9], 'left', string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000)))
if ARGV[6] ~= '' then tell(KEYS[1], KEYS[6], live[3], ARGV[5], ARGV[6], ARGV[7], ARGV[8]) end
return 'ok'
