#!lua flags=allow-oom
-- expired: which ended workloads are past their retention, those of the longest ended buckets first.
-- ARGV[2]  retention, seconds > 0     ARGV[3]  how many at most, > 0
-- Returns  {{id, 1 if S3 may hold objects of it, else 0}, …}. Of a bucket that Redis has dropped by its TTL only its
--          name is known: {bucket, 1} stands for every workload whose id starts so and of which there is no record.
-- Cost     O(records of the buckets it looks at). Of a bucket with nothing to forget it notes when to look again.
local retention_s, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local cutoff = now_ms() - retention_s * 1000
local answer = {}
local due = redis.call('ZRANGEBYSCORE', ended, '-inf', string.format('%.0f', cutoff), 'LIMIT', 0, limit)
for _, bucket in ipairs(due) do
  local records = redis.call('HGETALL', ended_prefix .. bucket)
  local found, first = #answer, nil
  for i = 1, #records, 2 do
    local _, _, objects, ended_ms = words_of(records[i + 1])
    if ended_ms > cutoff then
      first = math.min(first or ended_ms, ended_ms)
    elseif #answer < limit then
      answer[#answer + 1] = {bucket .. records[i], tonumber(objects)}
    end
  end
  if #records == 0 then
    answer[#answer + 1] = {bucket, 1}
  elseif #answer == found and first then
    redis.call('ZADD', ended, string.format('%.0f', first), bucket)
  end
  if #answer >= limit then break end
end
return answer
