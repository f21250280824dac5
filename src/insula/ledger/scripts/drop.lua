#!lua flags=allow-oom
-- drop: remove the keys of a deleted API of which nothing is left: no workload, and no upload that may be under way.
-- Returns  1 removed, or there was nothing · 0 it is not deleted, or something of it is left: nothing changed
-- Cost     O(entries of the queue that were never claimed). Safe to repeat.
if redis.call('EXISTS', queue) == 0 then return 1 end
if redis.call('EXISTS', closed) == 0 then return 0 end
local live = redis.call('HMGET', counts, 'in_queue', 'in_progress')
if tonumber(live[1] or 0) + tonumber(live[2] or 0) > 0 then return 0 end
if redis.call('ZCARD', ended) > 0 or redis.call('ZCARD', uploads) > 0 then return 0 end
redis.call('DEL', unpack(KEYS))
return 1
