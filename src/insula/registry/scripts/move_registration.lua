#!lua flags=allow-oom
-- move_registration: write a registration of the old shape under its own key, unless it has one.
-- KEYS[1]  registration hash     ARGV  its fields and values
-- Returns  1 written now · 0 there was one
-- Cost     O(fields). Safe to repeat. Runs also when Redis is full: workers empty it, and they need the registration.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
