#!lua flags=allow-oom
-- reclaim: start new attempts on workloads that no worker runs, oldest first: entries given back, entries that are pending
-- under this consumer but not held by it, entries of others whose lease has expired if allowed, and suspects.
-- ARGV[2]  consumer, the worker's name     ARGV[3]  most claims, > 0
-- ARGV[4]  version the worker runs         ARGV[5]  address of the worker's admin port
-- ARGV[6]  lease, ms; 0 leaves others' entries alone (one lease long after an outage, invariant I4)
-- ARGV[7]  1 if the consumer's own entries count as lost (its process died), 0 if not (a reply was lost)
-- ARGV[8]  most lost attempts, > 0         ARGV[9]  retention, seconds > 0
-- ARGV[10] most suspects among the claims, >= 0
-- ARGV[11…] ids the consumer holds
-- Returns  {{claim, …}, {damaged, …}}: claims as claim returns them, with the field suspect for suspects. A workload
--          with no deliveries left ends failed, in the dead zset. One whose record is damaged is {id, error}; it is
--          tried again after a lease.
-- Cost     O(pending entries of the API): XPENDING walks them.
local consumer, count, version, worker = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local lease_ms, own_lost, lost_max, retention_s = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local suspects_left = tonumber(ARGV[10])
local LOST_TOGETHER = 1024  -- attempts of a lost worker that are looked at together
local DAMAGED = 'damaged'  -- consumer that holds the entries of damaged records
local held = set_of(ARGV, 11)
local answer, damaged = {}, {}

local function pending_of(number, owner)
  return redis.call('XPENDING', queue, 'workers', '-', '+', number, owner)
end

-- suspect_together: if a lost worker runs several workloads, make all of them suspects, also those whose lease has not
-- expired yet. The field suspect has the number of the attempt whose loss does not count: the one in which the workload
-- became a suspect, or one whose handler was not called yet, see begin.
local function suspect_together(owner)
  local running = {}
  for _, pending in ipairs(pending_of(LOST_TOGETHER, owner)) do
    local entry = redis.call('XRANGE', queue, pending[1], pending[1])[1]
    local id = entry and entry[2][2]
    local record = id and redis.pcall('HMGET', workload_prefix .. id, 'status', 'attempt', 'suspect') or {}
    if record[1] == 'in_progress' and not (owner == consumer and held[id]) then
      running[#running + 1] = {id, record[2], record[3]}
    end
  end
  for _, one in ipairs(running) do
    if #running > 1 and not one[3] then redis.call('HSET', workload_prefix .. one[1], 'suspect', one[2]) end
  end
end

local function suspect_all_together(list)
  local seen = {[RETURNED] = true, [SUSPECTS] = true, [DAMAGED] = true}
  for _, pending in ipairs(list) do
    if not seen[pending[2]] then suspect_together(pending[2]) end
    seen[pending[2]] = true
  end
end

-- lose_worker: count the attempt of a lost worker, unless the field suspect has its number. Returns true if the
-- workload is in the queue again.
local function lose_worker(id, entry, owner, attempt, suspect)
  if suspect ~= attempt then
    local times, why = lose(id, 'the worker ' .. owner .. ' was lost')
    if times >= lost_max then return bury(id, entry, 'in_progress', attempt, why, retention_s) end
  end
  set_status(id, 'in_progress', 'in_queue', attempt)
  return true
end

local function take(id, entry, owner)
  local entry_id = entry[1]
  local record = redis.call('HMGET', workload_prefix .. id, 'status', 'attempt', 'suspect', 'lost')
  local status, attempt, suspect, lost = record[1], record[2], record[3], tonumber(record[4] or 0)
  if status == 'in_progress' then
    if owner ~= consumer or own_lost == '1' or lost >= lost_max then
      if not lose_worker(id, entry_id, owner, attempt, suspect) then return end
    else
      set_status(id, 'in_progress', 'in_queue', attempt)
    end
  elseif status ~= 'in_queue' then
    return drop_entry(entry_id)
  end
  if suspect then
    if suspects_left == 0 then return redis.call('XCLAIM', queue, 'workers', SUSPECTS, 0, entry_id, 'JUSTID') end
    suspects_left = suspects_left - 1
  end
  redis.call('XCLAIM', queue, 'workers', consumer, 0, entry_id, 'JUSTID')
  held[id] = true
  local claim = start_attempt(entry, attempt, version, worker)
  if suspect then
    redis.call('HSET', workload_prefix .. id, 'suspect', claim[2])
    claim[#claim + 1], claim[#claim + 2] = 'suspect', '1'
  end
  answer[#answer + 1] = claim
end

-- damage_of: return the text of an error that would occur again, else raise it. A text alone is an error of Lua.
local function damage_of(why)
  if type(why) == 'string' then return why end
  if not string.find(why.err, '^WRONGTYPE') and not string.find(why.err, 'not an integer') then error(why, 0) end
  return why.err
end

-- try_to_take: a damaged record must not keep the others waiting.
local function try_to_take(pending)
  local entry_id, owner = pending[1], pending[2]
  local entry = redis.call('XRANGE', queue, entry_id, entry_id)[1]
  if not entry then return redis.call('XACK', queue, 'workers', entry_id) end
  local id = entry[2][2]
  if owner == consumer and held[id] then return end
  local done, why = pcall(take, id, entry, owner)
  if done then return end
  local text = damage_of(why)
  redis.call('XCLAIM', queue, 'workers', DAMAGED, 0, entry_id, 'JUSTID')
  damaged[#damaged + 1] = {id, text}
end

local function take_all(list)
  for _, pending in ipairs(list) do
    if #answer < count then try_to_take(pending) end
  end
end

local mine = count + #ARGV - 10
take_all(pending_of(count, RETURNED))
if own_lost == '1' then suspect_together(consumer) end
take_all(pending_of(mine, consumer))
if lease_ms > 0 then
  local expired = redis.call('XPENDING', queue, 'workers', 'IDLE', lease_ms, '-', '+', mine)
  suspect_all_together(expired)
  take_all(expired)
end
if suspects_left > 0 then take_all(pending_of(suspects_left, SUSPECTS)) end
return {answer, damaged}
