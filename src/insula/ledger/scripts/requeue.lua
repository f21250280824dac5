#!lua flags=allow-oom
-- requeue: return a held workload to the front of the queue. The next reclaim of any worker starts it again.
-- ARGV[2]  id                         ARGV[3]  attempt, the fencing token     ARGV[4]  entry id
-- ARGV[5]  1 if the attempt was lost because its runner died, 2 if others were lost with it, 0 if it is given back
-- ARGV[6]  most lost attempts, > 0    ARGV[7]  why it was lost, one sentence  ARGV[8]  retention, seconds > 0
-- Returns  1 back in the queue · 2 no deliveries left: failed, in the dead zset · 3 cancelled, the API is deleted
--          · -1 lease lost
-- Cost     O(log N). Safe to repeat.
local id, attempt, entry, lost = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local status, holder = state_of(id)
if holder ~= attempt then return -1 end
if status == 'in_queue' then return 1 end
if status == 'failed' then return 2 end
if status == 'cancelled' then return 3 end
if status ~= 'in_progress' then return -1 end

if lost == 1 then
  local times, why = lose(id, ARGV[7])
  if times >= tonumber(ARGV[6]) then
    bury(id, entry, 'in_progress', attempt, why, tonumber(ARGV[8]))
    return 2
  end
end
if redis.call('EXISTS', closed) == 1 then  -- no worker will claim it
  end_workload(id, entry, 'in_progress', 'cancelled', attempt, tonumber(ARGV[8]), 'none', '')
  return 3
end
if lost == 2 then redis.call('HSET', workload_prefix .. id, 'suspect', attempt) end
local suspect = redis.call('HGET', workload_prefix .. id, 'suspect')
set_status(id, 'in_progress', 'in_queue', attempt)
redis.call('XCLAIM', queue, 'workers', suspect and SUSPECTS or RETURNED, 0, entry, 'JUSTID')
return 1
