#!lua
-- submit: accept workloads of one content type and one trace, each exactly once, as far as the queue has room.
-- ARGV[2]  queue limit, workloads > 0        ARGV[3]  content type        ARGV[4]  traceparent, or ''
-- ARGV[5]  how long an Idempotency-Key is kept, seconds > 0
-- ARGV[6]  how long an upload may take, seconds > 0
-- then for each workload 6 arguments:
--   id, a fresh UUIDv7 · size of the payload, bytes >= 0 · the payload, inline · or its S3 key, else ''
--   Redis key of the Idempotency-Key, with the same hash tag, else '' · digest of the request: a repetition has the same
-- Returns  {workloads in the queue, answer, …}, an answer for each workload: 1 accepted, now or before with this id ·
--          the id of the workload that was accepted before with this Idempotency-Key · 0 the queue is full · -1 the API
--          is deleted · -2 the Idempotency-Key was used for another request · -3 the note of the upload is gone or too
--          old, and the sweeper deletes the object with it. Nothing is stored for the last four.
-- Cost     O(workloads). One hash tag, so Cluster-safe. Refused when Redis is out of memory.
local limit, content_type, traceparent = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local remember_s, upload_s = ARGV[5], tonumber(ARGV[6])
local ARGUMENTS, FIRST = 6, 7
local depth, at, accepted = redis.call('XLEN', queue), now_ms(), 0
local is_closed = redis.call('EXISTS', closed) == 1 or redis.call('EXISTS', queue) == 0

-- refusal: returns why a new workload is refused; nothing if it may be stored.
local function refusal(object)
  if is_closed then return -1 end
  if depth >= limit then return 0 end
  if object == '' then return end
  local noted_ms = redis.call('ZSCORE', uploads, object)
  if not noted_ms or at - noted_ms > upload_s * 1000 then return -3 end
  redis.call('ZREM', uploads, object)
end

local function submit(id, payload_bytes, payload, object, idempotency, digest)
  if state_of(id) then return 1 end
  if idempotency ~= '' then
    local known = redis.call('HMGET', idempotency, 'id', 'digest')
    if known[1] then return known[2] == digest and known[1] or -2 end
  end
  local refused = refusal(object)
  if refused then return refused end
  local key = workload_prefix .. id
  local entry = redis.call('XADD', queue, '*', 'id', id, 'content_type', content_type, 'traceparent', traceparent,
    'payload_bytes', payload_bytes, 'payload', payload, 'object', object)
  redis.call('HSET', key, 'status', 'in_queue', 'attempt', 0, 'lost', 0, 'submitted_ms', at, 'entry', entry,
    'content_type', content_type, 'payload_bytes', payload_bytes)
  if object ~= '' then redis.call('HSET', key, 'payload_object', object) end
  if idempotency ~= '' then
    redis.call('HSET', idempotency, 'id', id, 'digest', digest)
    redis.call('EXPIRE', idempotency, remember_s)
  end
  publish(id, 'in_queue', 0)
  depth, accepted = depth + 1, accepted + 1
  return 1
end

local answers = {0}
for i = FIRST, #ARGV, ARGUMENTS do
  answers[#answers + 1] = submit(unpack(ARGV, i, i + ARGUMENTS - 1))
end
if accepted > 0 then redis.call('HINCRBY', counts, 'in_queue', accepted) end
answers[1] = depth
return answers
