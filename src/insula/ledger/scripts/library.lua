-- Code of all scripts: the ledger inserts it after each script's first line. It names KEYS and the first ARGV:
-- KEYS[1]  queue stream, group "workers"     KEYS[2]  ended zset     KEYS[3]  counts hash   KEYS[4]  updates stream
-- KEYS[5]  dead zset                         KEYS[6]  uploads zset   KEYS[7]  closed flag
-- ARGV[1]  prefix of the API's keys, hash tag included; with an id it makes the key of a workload's record
local queue, ended, counts, updates, dead, uploads, closed = unpack(KEYS)
local workload_prefix, ended_prefix, dead_prefix = ARGV[1] .. 'workload:', ARGV[1] .. 'ended:', ARGV[1] .. 'dead:'
local RETURNED = 'returned'  -- consumer that holds entries given back until the next reclaim
local SUSPECTS = 'suspects'  -- the same for suspects, which run alone in a process

local script_ms  -- the time does not change during a script

local function now_ms()
  if not script_ms then
    local time = redis.call('TIME')
    script_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  end
  return script_ms
end

-- Each live workload has its own hash. Millions of ended workloads are kept, so those submitted within the same 4.096 s
-- share one hash, a bucket. An id starts with its time in ms, 48 bits; the first 36 bits name the bucket.
local BUCKET_CHARS = 10

local function ended_key(id)
  return ended_prefix .. string.sub(id, 1, BUCKET_CHARS)
end

-- An ended record is one string: a line of words, "status attempt objects submitted_ms started ended version kind", and
-- the outcome. The rest of the line, if any, is a JSON object: traceback and traceback_object as in finish, and fields
-- that were unknown to the version that ended the workload.
-- objects: 1 if S3 may hold objects of it, else 0 · started, ended: ms after submitted_ms · started and version: '-' if
-- no attempt began · kind: kind of the outcome, see finish, or 'none'
local function ended_record(id)
  return redis.call('HGET', ended_key(id), string.sub(id, BUCKET_CHARS + 1))
end

-- words_of: returns status, attempt, objects and ended_ms of an ended record.
local function words_of(record)
  local status, attempt, objects, submitted_ms, after = string.match(record, '^(%S+) (%S+) (%S+) (%S+) %S+ (%S+)')
  return status, attempt, objects, submitted_ms + after
end

-- state_of: returns status and attempt of a workload; nothing if there is none.
local function state_of(id)
  local live = redis.call('HMGET', workload_prefix .. id, 'status', 'attempt')
  if live[1] then return live[1], live[2] end
  local record = ended_record(id)
  if record then return words_of(record) end
end

-- Written once for all workloads of a script: changes of the counts, entries that were delivered and have ended, and
-- updates. An update is {status = …, ids = {…}, attempts = {…}}: consecutive changes to one status.
local moved, dropped, changes = {}, {}, {}
local CHANGES_MAX = 8  -- most changes in one update; the stream keeps about 10,000 updates, whatever their size

local function write_collected()
  for _, change in ipairs(changes) do
    redis.call('XADD', updates, 'MAXLEN', '~', 10000, '*', 'id', table.concat(change.ids, ' '),
      'status', change.status, 'attempt', table.concat(change.attempts, ' '))
  end
  for status, number in pairs(moved) do
    if number ~= 0 then redis.call('HINCRBY', counts, status, number) end
  end
  for i = 1, #dropped, 1000 do
    local last = math.min(i + 999, #dropped)
    redis.call('XACK', queue, 'workers', unpack(dropped, i, last))
    redis.call('XDEL', queue, unpack(dropped, i, last))
  end
end

local function publish(id, status, attempt)
  local last = changes[#changes]
  if not last or last.status ~= status or #last.ids == CHANGES_MAX then
    last = {status = status, ids = {}, attempts = {}}
    changes[#changes + 1] = last
  end
  table.insert(last.ids, id)
  table.insert(last.attempts, attempt)
end

local function count(id, from, to, attempt)
  moved[from], moved[to] = (moved[from] or 0) - 1, (moved[to] or 0) + 1
  publish(id, to, attempt)
end

local function set_status(id, from, to, attempt)
  redis.call('HSET', workload_prefix .. id, 'status', to)
  count(id, from, to, attempt)
end

-- drop_entry: delete a delivered entry. One that was never delivered stays, because XDEL would make the group's lag
-- unknown; claim skips it later.
local function drop_entry(entry)
  if redis.call('XACK', queue, 'workers', entry) == 1 then redis.call('XDEL', queue, entry) end
end

-- Fields of a live workload. Other fields come from a later version: every script keeps them, also in the ended record.
local FIELDS = {
  status = true, attempt = true, lost = true, lost_why = true, submitted_ms = true, started_ms = true, version = true,
  worker = true, entry = true, content_type = true, payload_bytes = true, payload_object = true, suspect = true,
}

-- live_record: returns two tables, the known fields of a live workload and the unknown ones.
local function live_record(key)
  local pairs_of, record, others = redis.call('HGETALL', key), {}, {}
  for i = 1, #pairs_of, 2 do
    local known = FIELDS[pairs_of[i]] and record or others
    known[pairs_of[i]] = pairs_of[i + 1]
  end
  return record, others
end

local kept_buckets = {}

-- keep_bucket: make a bucket known to the sweeper, once in a script.
local function keep_bucket(bucket, id, at, retention_s)
  if kept_buckets[bucket] then return end
  kept_buckets[bucket] = true
  redis.call('EXPIRE', bucket, retention_s + 86400)  -- if the sweeper has not deleted it before
  redis.call('ZADD', ended, 'LT', at, string.sub(id, 1, BUCKET_CHARS))
end

-- end_record: the only way a record becomes terminal. `live` and `others` as in live_record, `kind` and `outcome` as in
-- finish; retention in seconds. `kept` is nil or a table of further fields for the ended record; fields with the value
-- '' are left out.
local function end_record(id, live, others, entry, from, to, attempt, retention_s, kind, outcome, kept)
  local bucket, at = ended_key(id), now_ms()
  local object, submitted_ms = live.payload_object, live.submitted_ms or at
  if to == 'cancelled' and object then  -- no worker will delete its payload
    redis.call('ZADD', uploads, 0, object)
  end
  -- An attempt that was lost, also one that did not count, or is cancelled now may have left a result in S3.
  local left = live.lost ~= '0' or live.suspect or to == 'cancelled' and from == 'in_progress'
  for name, value in pairs(kept or {}) do
    if value ~= '' then others[name] = value end
  end
  local objects = (kind == 'object' or others.traceback_object or object or left) and 1 or 0
  local started = live.started_ms and string.format('%.0f', live.started_ms - submitted_ms) or '-'
  local ended_after = string.format('%.0f', at - submitted_ms)
  local words = {to, attempt, objects, submitted_ms, started, ended_after, live.version or '-', kind}
  if next(others) then words[#words + 1] = cjson.encode(others) end
  redis.call('HSET', bucket, string.sub(id, BUCKET_CHARS + 1), table.concat(words, ' ') .. '\n' .. outcome)
  keep_bucket(bucket, id, at, retention_s)
  redis.call('DEL', workload_prefix .. id)
  count(id, from, to, attempt)
  if from == 'in_progress' then dropped[#dropped + 1] = entry else drop_entry(entry) end
  return at
end

local function end_workload(id, ...)
  local live, others = live_record(workload_prefix .. id)
  return end_record(id, live, others, ...)
end

-- bury: end a workload that has no deliveries left. Its entry is kept as a hash until it is redriven or dropped.
local function bury(id, entry, from, attempt, why, retention_s)
  redis.call('HSET', dead_prefix .. id, unpack(redis.call('XRANGE', queue, entry, entry)[1][2]))
  redis.call('EXPIRE', dead_prefix .. id, retention_s + 86400)
  local at = end_workload(id, entry, from, 'failed', attempt, retention_s, 'failure',
    'WORKER_LOST ' .. why)
  redis.call('ZADD', dead, at, id)
end

-- lose: count one more lost attempt and its reason. Returns the number of lost attempts, and a sentence about them.
-- The field lost_why holds the reason that all of them share; empty if they differ.
local function lose(id, why)
  local key = workload_prefix .. id
  local lost = redis.call('HINCRBY', key, 'lost', 1)
  if lost == 1 then
    redis.call('HSET', key, 'lost_why', why)
    return lost, why .. ' in its only attempt'
  end
  if redis.call('HGET', key, 'lost_why') == why then return lost, why .. ' in each of ' .. lost .. ' attempts' end
  redis.call('HSET', key, 'lost_why', '')
  return lost, why .. ' in the last of ' .. lost .. ' attempts'
end

-- start_attempt: lease one delivered entry to a worker. `entry` is {entry id, {field, value, …}}. `last` is the number
-- of the workload's last attempt. Returns {id, attempt, entry id, field, value, …}.
local function start_attempt(entry, last, version, worker)
  local fields = entry[2]
  local id, attempt = fields[2], (last or 0) + 1  -- submit writes the id first
  redis.call('HSET', workload_prefix .. id, 'status', 'in_progress', 'attempt', attempt, 'started_ms', now_ms(),
    'version', version, 'worker', worker)
  count(id, 'in_queue', 'in_progress', attempt)
  local claim = {id, attempt, entry[1]}
  for i = 3, #fields do claim[#claim + 1] = fields[i] end
  return claim
end

local function set_of(list, first)
  local set = {}
  for i = first, #list do set[list[i]] = true end
  return set
end
