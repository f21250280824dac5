#!lua flags=allow-oom
-- drop: remove the keys of a deleted API that has no workload left, and no upload that may be in progress.
-- Returns  1 removed now or before · 0 the API is not deleted, or a workload or upload is left: nothing changed
-- Cost     O(entries of the queue that were never claimed). Safe to repeat.
if redis.call('EXISTS', queue) == 0 then return 1 end
if redis.call('EXISTS', closed) == 0 then return 0 end
local live = redis.call('HMGET', counts, 'in_queue', 'in_progress')
if tonumber(live[1] or 0) + tonumber(live[2] or 0) > 0 then return 0 end
if redis.call('ZCARD', ended) > 0 or redis.call('ZCARD', uploads) > 0 then return 0 end
redis.call('DEL', unpack(KEYS))
return 1
