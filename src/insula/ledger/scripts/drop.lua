#!lua flags=allow-oom
-- drop: remove the keys of a deleted API whose last workload is forgotten.
-- Returns  1 removed, or there was nothing · 0 it is not deleted, or workloads of it are retained: nothing changed
-- Cost     O(entries of the queue that were never claimed). Safe to repeat.
if redis.call('EXISTS', closed) == 0 and redis.call('EXISTS', queue) == 1 then return 0 end
if redis.call('ZCARD', index) > 0 then return 0 end
redis.call('DEL', unpack(KEYS))
return 1
