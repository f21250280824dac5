#!lua flags=allow-oom
-- forget: remove everything in Redis of an ended workload whose retention is over.
-- ARGV[2]  id, or a bucket that Redis has dropped     ARGV[3]  retention, seconds > 0
-- Returns  1 forgotten now · 0 nothing to forget · -1 its retention is not over: nothing changed
-- Cost     O(log N). Safe to repeat.
local id, retention_s = ARGV[2], tonumber(ARGV[3])
local bucket = ended_key(id)
local record = ended_record(id)
local forgotten = 0
if record then
  local status, _, _, ended_ms = words_of(record)
  if ended_ms + retention_s * 1000 > tonumber(now_ms()) then return -1 end
  redis.call('HINCRBY', counts, status, -1)
  redis.call('HDEL', bucket, string.sub(id, BUCKET_CHARS + 1))
  redis.call('ZREM', dead, id)
  redis.call('DEL', dead_prefix .. id)
  forgotten = 1
else  -- the bucket's TTL removed the record; remove dead entries of that age too
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', string.format('%.0f', now_ms() - (retention_s + 86400) * 1000))
end
if redis.call('EXISTS', bucket) == 0 and redis.call('ZREM', ended, string.sub(id, 1, BUCKET_CHARS)) == 1 then
  forgotten = 1
  if redis.call('ZCARD', ended) == 0 then redis.call('HDEL', counts, 'completed', 'failed', 'cancelled') end
end
return forgotten
