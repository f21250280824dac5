#!lua flags=allow-oom
-- cancel: end a waiting workload.
-- ARGV[2]  id      ARGV[3]  retention, seconds > 0
-- Returns  1 cancelled now · 0 the workload is not waiting: nothing changed
-- Cost     O(log N) for the ended zset, N the buckets in it. Safe to repeat.
local id, retention_s = ARGV[2], tonumber(ARGV[3])
local record = redis.call('HMGET', workload_prefix .. id, 'status', 'attempt', 'entry')
if record[1] ~= 'in_queue' then return 0 end
end_workload(id, record[3], 'in_queue', 'cancelled', record[2], retention_s, 'none', '')
return 1
