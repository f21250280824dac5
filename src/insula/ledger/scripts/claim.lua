#!lua flags=allow-oom
-- claim: read the group and start an attempt on each entry, in one step.
-- ARGV[2]  consumer, the worker's name     ARGV[3]  most claims, > 0
-- ARGV[4]  version the worker runs         ARGV[5]  address of the worker's admin port
-- Returns  {last entry id of the stream, claim, …}; a claim is {id, attempt, entry id, field, value, …}.
--          With fewer than ARGV[3] claims, every entry up to that id has been delivered.
-- Cost     O(claims). An entry whose workload has already ended is deleted and skipped. Not repeatable: if the reply
--          is lost, the claims stay pending under the consumer until its next reclaim.
local consumer, count, version, worker = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local read = redis.call('XREADGROUP', 'GROUP', 'workers', consumer, 'COUNT', count, 'STREAMS', queue, '>')
local newest = redis.call('XREVRANGE', queue, '+', '-', 'COUNT', 1)
local answer = {newest[1] and newest[1][1] or '0-0'}
if not read then return answer end
for _, entry in ipairs(read[1][2]) do
  local record = redis.call('HMGET', workload_prefix .. entry[2][2], 'status', 'attempt')
  if record[1] == 'in_queue' then
    answer[#answer + 1] = start_attempt(entry, record[2], version, worker)
  else
    drop_entry(entry[1])
  end
end
return answer
