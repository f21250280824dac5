#!lua flags=allow-oom
-- forget: remove all that Redis knows of an ended workload that is past its retention.
-- ARGV[2]  id      ARGV[3]  retention, seconds > 0
-- Returns  1 forgotten now · 0 there was nothing of it · -1 its retention has not passed: nothing changed
-- Cost     O(log N). Safe to repeat.
local id, retention_s = ARGV[2], tonumber(ARGV[3])
local key = workload_prefix .. id
local ended_ms = redis.call('ZSCORE', ended, id)
if not ended_ms then return 0 end
if ended_ms + retention_s * 1000 > tonumber(now_ms()) then return -1 end
local status = redis.call('HGET', key, 'status')
if status then redis.call('HINCRBY', counts, status, -1) end
redis.call('DEL', key)
for _, set in ipairs({index, ended, dead}) do redis.call('ZREM', set, id) end
return 1
