#!lua flags=allow-oom,no-writes
-- expired: which ended workloads are past their retention, the longest ended first.
-- ARGV[2]  retention, seconds > 0     ARGV[3]  how many at most, > 0
-- Returns  {{id, 1 if S3 may hold objects of it, else 0}, …}
-- Cost     O(log N + answers).
-- An attempt that was lost may have left its result behind, and so may one whose record Redis has dropped by its TTL.
local retention_s, count = tonumber(ARGV[2]), ARGV[3]
local answer = {}
local cutoff = string.format('%.0f', now_ms() - retention_s * 1000)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', cutoff, 'LIMIT', 0, count)) do
  local record = redis.call('HMGET', workload_prefix .. id, 'lost', 'payload_object', 'result_object')
  local inline = record[1] == '0' and not record[2] and not record[3]
  answer[#answer + 1] = {id, inline and 0 or 1}
end
return answer
