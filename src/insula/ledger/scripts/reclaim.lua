#!lua flags=allow-oom
-- reclaim: start new attempts on workloads that no worker runs, oldest first: entries given back, entries that are
-- pending under this consumer but not held by it, and, if allowed, entries of others whose lease has expired.
-- ARGV[2]  consumer, the worker's name     ARGV[3]  most claims, > 0
-- ARGV[4]  version the worker runs         ARGV[5]  address of the worker's admin port
-- ARGV[6]  lease, ms; 0 leaves others' entries alone (one lease long after an outage, invariant I4)
-- ARGV[7]  1 if the consumer's own entries count as lost (its process died), 0 if not (a reply was lost)
-- ARGV[8]  most lost attempts, > 0         ARGV[9]  retention, seconds > 0
-- ARGV[10…] ids the consumer holds
-- Returns  {claim, …} as claim does. A workload with no deliveries left ends failed, in the dead zset.
-- Cost     O(pending entries of the API): XPENDING walks them.
local consumer, count, version, worker = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local lease_ms, own_lost, lost_max, retention_s = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local held = set_of(ARGV, 10)
local answer = {}

local function take(pending)
  local entry_id, owner = pending[1], pending[2]
  local entry = redis.call('XRANGE', queue, entry_id, entry_id)[1]
  if not entry then return redis.call('XACK', queue, 'workers', entry_id) end
  local id = entry[2][2]
  if owner == consumer and held[id] then return end
  local record = redis.call('HMGET', workload_prefix .. id, 'status', 'attempt')
  local status, attempt = record[1], record[2]
  if status == 'in_progress' then
    if owner ~= consumer or own_lost == '1' then
      local times, why = lose(id, 'the worker ' .. owner .. ' was lost')
      if times >= lost_max then return bury(id, entry_id, status, attempt, why, retention_s) end
    end
    set_status(id, 'in_progress', 'in_queue', attempt)
  elseif status ~= 'in_queue' then
    return drop_entry(entry_id)
  end
  redis.call('XCLAIM', queue, 'workers', consumer, 0, entry_id, 'JUSTID')
  held[id] = true
  answer[#answer + 1] = start_attempt(entry, version, worker)
end

local function take_all(pending)
  for _, one in ipairs(pending) do
    if #answer < count then take(one) end
  end
end

local mine = count + #ARGV - 9
take_all(redis.call('XPENDING', queue, 'workers', '-', '+', count, RETURNED))
take_all(redis.call('XPENDING', queue, 'workers', '-', '+', mine, consumer))
if lease_ms > 0 then take_all(redis.call('XPENDING', queue, 'workers', 'IDLE', lease_ms, '-', '+', mine)) end
return answer
