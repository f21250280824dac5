#!lua flags=allow-oom
-- close: take no workloads from now on. Runs also when Redis is full: deleting an API is a way to empty it.
-- Cost     O(1). Safe to repeat.
redis.call('SET', closed, 1)
return 1
