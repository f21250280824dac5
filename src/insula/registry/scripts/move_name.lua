#!lua flags=allow-oom
-- move_name: replace an API's registration in the old format by a mark. This is the last step of its migration.
-- KEYS[1]  names hash     ARGV[1]  API     ARGV[2]  the migrated registration     ARGV[3]  mark
-- Returns  1 replaced now · 0 another process has replaced it
-- Cost     O(1). Safe to repeat. Runs also when Redis is full, as move_registration does.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
