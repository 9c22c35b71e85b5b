-- Becomes the owner of a state, where there is one: its former owner writes nothing more.
-- KEYS: meta. ARGV: owner
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'owner', ARGV[1]) end
