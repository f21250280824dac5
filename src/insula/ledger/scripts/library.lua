-- What the scripts share; the ledger puts it after each script's first line. It names KEYS and the first ARGV:
-- KEYS[1]  queue stream, group "workers"     KEYS[2]  index zset     KEYS[3]  ended zset   KEYS[4]  counts hash
-- KEYS[5]  updates stream                    KEYS[6]  dead zset      KEYS[7]  uploads zset  KEYS[8]  closed flag
-- ARGV[1]  prefix of the workload hashes, of the same hash tag
local queue, index, ended, counts, updates, dead, uploads, closed = unpack(KEYS)
local workload_prefix = ARGV[1]
local RETURNED = 'returned'  -- consumer that holds entries given back until the next reclaim

local function now_ms()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

local function publish(id, status, attempt)
  redis.call('XADD', updates, 'MAXLEN', '~', 10000, '*', 'id', id, 'status', status, 'attempt', attempt)
end

local function set_status(id, from, to, attempt)
  redis.call('HSET', workload_prefix .. id, 'status', to)
  redis.call('HINCRBY', counts, from, -1)
  redis.call('HINCRBY', counts, to, 1)
  publish(id, to, attempt)
end

-- drop_entry: an entry that no consumer was given yet stays, because XDEL would spoil the group's lag; claim skips it.
local function drop_entry(entry)
  if redis.call('XACK', queue, 'workers', entry) == 1 then redis.call('XDEL', queue, entry) end
end

-- end_workload: the only way a record becomes terminal. `fields` are HSET pairs; retention in seconds.
local function end_workload(id, entry, from, to, attempt, retention_s, fields)
  local key = workload_prefix .. id
  local at = now_ms()
  redis.call('HSET', key, 'ended_ms', at, unpack(fields))
  if to == 'cancelled' then  -- nobody runs it any more who could delete its payload
    local object = redis.call('HGET', key, 'payload_object')
    if object then redis.call('ZADD', uploads, 0, object) end
  end
  redis.call('HDEL', key, 'entry', 'worker')  -- of use only while it lives, and millions of records are kept
  redis.call('EXPIRE', key, retention_s + 86400)  -- the net below the sweeper
  redis.call('ZADD', ended, at, id)
  set_status(id, from, to, attempt)
  drop_entry(entry)
  return at
end

-- bury: end a workload that is out of deliveries; its payload moves to the record and stays until redriven or dropped.
local function bury(id, entry, from, attempt, why, retention_s)
  local fields = redis.call('XRANGE', queue, entry, entry)[1][2]
  redis.call('HSET', workload_prefix .. id, fields[9], fields[10])
  local at = end_workload(id, entry, from, 'failed', attempt, retention_s,
    {'failure_reason', 'WORKER_LOST', 'failure_message', 'gave up after its last allowed attempt: ' .. why})
  redis.call('ZADD', dead, at, id)
end

-- start_attempt: lease one delivered entry to a worker. `entry` is {entry id, {field, value, …}}.
-- Returns {id, attempt, entry id, field, value, …}.
local function start_attempt(entry, version, worker)
  local fields = entry[2]
  local id = fields[2]  -- submit writes the id first
  local key = workload_prefix .. id
  local attempt = redis.call('HINCRBY', key, 'attempt', 1)
  redis.call('HSET', key, 'started_ms', now_ms(), 'version', version, 'worker', worker)
  set_status(id, 'in_queue', 'in_progress', attempt)
  local claim = {id, attempt, entry[1]}
  for i = 3, #fields do claim[#claim + 1] = fields[i] end
  return claim
end

local function set_of(list, first)
  local set = {}
  for i = first, #list do set[list[i]] = true end
  return set
end
