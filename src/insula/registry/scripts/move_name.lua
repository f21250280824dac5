#!lua flags=allow-oom
-- move_name: put the mark of an API in the place of its registration of the old shape, which ends its move.
-- KEYS[1]  names hash     ARGV[1]  API     ARGV[2]  the registration that was moved     ARGV[3]  mark
-- Returns  1 put now · 0 another has ended the move
-- Cost     O(1). Safe to repeat. Runs also when Redis is full, as move_registration does.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
