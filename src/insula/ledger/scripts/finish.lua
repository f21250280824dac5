#!lua flags=allow-oom
-- finish: end attempts, each exactly once, and only if the caller still holds the workload.
-- ARGV[2]  retention, seconds > 0
-- ARGV[3…] for each attempt eight values:
--          id · attempt, the fencing token · entry id · completed or failed
--          · kind of the outcome: result, object or failure
--          · the outcome: the result, or its S3 key, or the failure's reason (one word), a space and its message
--          · a failure's traceback, UTF-8, or '' · S3 key of a longer traceback, or ''
-- Returns  per attempt 1 finished now · 0 already finished by this attempt · -1 lease lost, nothing written
-- Cost     O(attempts · log N) for the ended zset, N the buckets in it. Safe to repeat.
local retention_s = tonumber(ARGV[2])

local function finish(id, attempt, entry, status, kind, outcome, traceback, traceback_object)
  local live, others = live_record(workload_prefix .. id)
  local now, holder = live.status, live.attempt
  if not now then now, holder = state_of(id) end
  if holder ~= attempt then return -1 end
  if now == 'completed' or now == 'failed' then return 0 end
  if now ~= 'in_progress' then return -1 end
  local kept = {traceback = traceback, traceback_object = traceback_object}
  end_record(id, live, others, entry, now, status, attempt, retention_s, kind, outcome, kept)
  return 1
end

local answer = {}
for i = 3, #ARGV, 8 do answer[#answer + 1] = finish(unpack(ARGV, i, i + 7)) end
return answer
