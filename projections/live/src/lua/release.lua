-- Lets go of a state that was claimed, if it still is: whoever owned it before takes it anew.
-- KEYS: meta. ARGV: owner
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('HDEL', KEYS[1], 'owner') end
