-- Tells a delta to whoever follows, and forgets of the older ones what is beyond the numbers and bytes to keep. Stands before
-- the scripts that do so.
local function tell(meta, deltas, generation, version, delta, entries_kept, bytes_kept)
    local written = redis.call('HINCRBY', meta, 'deltaBytes', #delta)
    redis.call('XADD', deltas, 'MAXLEN', '~', entries_kept, version .. '-0', 'b', written, 'g', generation, 'd', delta)
    -- Between what was written with the oldest and with the newest lies what is kept.
    local most = tonumber(bytes_kept)
    local function kept()
        return written - tonumber(redis.call('XRANGE', deltas, '-', '+', 'COUNT', 1)[1][2][2])
    end
    local bytes = kept()
    while bytes > most do
        local entries = redis.call('XLEN', deltas)
        redis.call('XTRIM', deltas, 'MAXLEN', '=', math.max(1, math.min(entries - 1, math.floor(entries * most / bytes))))
        bytes = kept()
    end
end

