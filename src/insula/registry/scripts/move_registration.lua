#!lua flags=allow-oom
-- move_registration: write a registration in the old format to its own key, unless the key exists.
-- KEYS[1]  registration hash     ARGV  its fields and values
-- Returns  1 written now · 0 the key existed
-- Cost     O(fields). Safe to repeat. Runs also when Redis is full: workers free memory, and need the registration.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
