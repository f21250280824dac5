#!lua
-- submit: accept one workload, exactly once, if the queue has room.
-- ARGV[2]  id, a fresh UUIDv7        ARGV[3]  queue limit, workloads > 0
-- ARGV[4]  content type              ARGV[5]  traceparent, or ''
-- ARGV[6]  size of the payload, bytes >= 0
-- ARGV[7]  the payload, inline       ARGV[8]  or its S3 key, else ''
-- ARGV[9]  Redis key of the Idempotency-Key, with the same hash tag, else ''
-- ARGV[10] digest of the request: a repetition has the same     ARGV[11]  how long the key is kept, seconds > 0
-- ARGV[12] how long an upload may take, seconds > 0
-- Returns  {1, id, workloads in the queue}: accepted, now or before by this id or Idempotency-Key · {0} the queue is
--          full · {-1} the API is deleted · {-2} the Idempotency-Key was used for another request · {-3} the note of the
--          upload is gone or too old, and the sweeper deletes the object with it. Except for {1}, nothing is stored.
-- Cost     O(1). One hash tag, so Cluster-safe. Refused when Redis is out of memory.
local id, limit, content_type, traceparent = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local payload_bytes, payload, object = ARGV[6], ARGV[7], ARGV[8]
local idempotency, digest, remember_s, upload_s = ARGV[9], ARGV[10], ARGV[11], tonumber(ARGV[12])
local key = workload_prefix .. id

local depth = redis.call('XLEN', queue)
if state_of(id) then return {1, id, depth} end
if idempotency ~= '' then
  local known = redis.call('HMGET', idempotency, 'id', 'digest')
  if known[1] then return known[2] == digest and {1, known[1], depth} or {-2} end
end
if redis.call('EXISTS', closed) == 1 or redis.call('EXISTS', queue) == 0 then return {-1} end
if depth >= limit then return {0} end
if object ~= '' then
  local noted_ms = redis.call('ZSCORE', uploads, object)
  if not noted_ms or now_ms() - noted_ms > upload_s * 1000 then return {-3} end
  redis.call('ZREM', uploads, object)
end

local entry = redis.call('XADD', queue, '*', 'id', id, 'content_type', content_type, 'traceparent', traceparent,
  'payload_bytes', payload_bytes, 'payload', payload, 'object', object)
redis.call('HSET', key, 'status', 'in_queue', 'attempt', 0, 'lost', 0, 'submitted_ms', now_ms(), 'entry', entry,
  'content_type', content_type, 'payload_bytes', payload_bytes)
redis.call('HINCRBY', counts, 'in_queue', 1)
if object ~= '' then
  redis.call('HSET', key, 'payload_object', object)
end
if idempotency ~= '' then
  redis.call('HSET', idempotency, 'id', id, 'digest', digest)
  redis.call('EXPIRE', idempotency, remember_s)
end
publish(id, 'in_queue', 0)
return {1, id, depth + 1}
