#!lua flags=allow-oom
-- finish: end one attempt, exactly once, if the caller still holds the workload.
-- ARGV[2]  id                        ARGV[3]  attempt, the fencing token      ARGV[4]  entry id
-- ARGV[5]  completed or failed       ARGV[6]  retention, seconds > 0
-- ARGV[7]  kind of the outcome: result, object or failure
-- ARGV[8]  the outcome: the result, or its S3 key, or the failure's reason (one word), a space and its message
-- ARGV[9]  a failure's traceback, UTF-8, or ''      ARGV[10] S3 key of a longer traceback, or ''
-- Returns  1 finished now · 0 already finished by this attempt · -1 lease lost, nothing written
-- Cost     O(log N) for the ended zset, N the buckets in it.
local id, attempt, entry, status, retention_s = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local now, holder = state_of(id)
if holder ~= attempt then return -1 end
if now == 'completed' or now == 'failed' then return 0 end
if now ~= 'in_progress' then return -1 end
local kept = {traceback = ARGV[9], traceback_object = ARGV[10]}
end_workload(id, entry, now, status, attempt, retention_s, ARGV[7], ARGV[8], kept)
return 1
