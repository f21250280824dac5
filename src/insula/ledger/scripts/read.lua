#!lua flags=no-writes
-- read: return the records of workloads.
-- ARGV[2], …  ids
-- Returns  for each id: the record of an ended workload, a string · the fields of a live one, {status, attempt, version,
--          submitted_ms, started_ms}, false for a missing one · false if there is no such workload.
-- Cost     O(ids).
local answers = {}
for i = 2, #ARGV do
  local record = ended_record(ARGV[i])
  if not record then
    record = redis.call('HMGET', workload_prefix .. ARGV[i], 'status', 'attempt', 'version', 'submitted_ms', 'started_ms')
    record = record[1] and record
  end
  answers[#answers + 1] = record
end
return answers
