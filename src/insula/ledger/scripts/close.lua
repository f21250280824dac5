#!lua flags=allow-oom
-- close: refuse new workloads from now on. Runs also when Redis is full, because deleting an API frees memory.
-- Cost     O(1). Safe to repeat.
redis.call('SET', closed, 1)
return 1
