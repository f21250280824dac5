#!lua flags=allow-oom
-- finish: end one attempt, exactly once, if the caller still holds the workload.
-- ARGV[2]  id                        ARGV[3]  attempt, the fencing token      ARGV[4]  entry id
-- ARGV[5]  completed or failed       ARGV[6]  retention, seconds > 0
-- ARGV[7…] fields of the record to set: name, value, …
-- Returns  1 finished now · 0 already finished by this attempt · -1 lease lost, nothing written
-- Cost     O(log N) for the ended zset.
local id, attempt, entry, status, retention_s = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local record = redis.call('HMGET', workload_prefix .. id, 'status', 'attempt')
if record[2] ~= attempt then return -1 end
if record[1] == 'completed' or record[1] == 'failed' then return 0 end
if record[1] ~= 'in_progress' then return -1 end
end_workload(id, entry, 'in_progress', status, attempt, retention_s, {unpack(ARGV, 7)})
return 1
