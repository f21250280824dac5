#!lua flags=allow-oom
-- move_endpoint: add the endpoint of a registration in the old format to the list, unless an API has it.
-- KEYS[1]  endpoints hash     ARGV[1]  endpoint     ARGV[2]  claim of the API
-- Returns  1 added now · 0 an API has it
-- Cost     O(1). Safe to repeat. Runs also when Redis is full, as move_registration does.
return redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
