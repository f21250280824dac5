#!lua flags=allow-oom
-- move_endpoint: list the endpoint of a registration of the old shape, unless an API has it.
-- KEYS[1]  endpoints hash     ARGV[1]  endpoint     ARGV[2]  claim of the API
-- Returns  1 listed now · 0 an API has it
-- Cost     O(1). Safe to repeat. Runs also when Redis is full, as move_registration does.
return redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
