#!lua flags=allow-oom
-- expired: find ended workloads whose retention is over, in the buckets that ended first.
-- ARGV[2]  retention, seconds > 0     ARGV[3]  about how many, > 0     ARGV[4]  about how many records to read, > 0
-- Returns  {1 if there may be more, else 0, {id, 1 if S3 may hold objects of it, else 0, attempts}, …}. If Redis has
--          dropped a bucket by its TTL, the bucket's entry is {bucket, 1, 0}. It stands for each workload without a
--          record whose id starts with the bucket's name.
-- Cost     O(ARGV[4] + records of one bucket). If a bucket has nothing to forget, it stores when to read it again.
local cutoff, limit, look = now_ms() - tonumber(ARGV[2]) * 1000, tonumber(ARGV[3]), tonumber(ARGV[4])
local answer = {0}
local due = redis.call('ZRANGEBYSCORE', ended, '-inf', string.format('%.0f', cutoff), 'LIMIT', 0, limit)
for number, bucket in ipairs(due) do
  local cursor, seen, found, first = '0', 0, #answer, nil
  repeat
    local page = redis.call('HSCAN', ended_prefix .. bucket, cursor, 'COUNT', 500)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local _, attempt, objects, ended_ms = words_of(page[2][i + 1])
      seen = seen + 1
      if ended_ms <= cutoff then
        answer[#answer + 1] = {bucket .. page[2][i], tonumber(objects), tonumber(attempt)}
      else
        first = math.min(first or ended_ms, ended_ms)
      end
    end
  until cursor == '0' or #answer > limit
  look = look - seen
  if seen == 0 then
    answer[#answer + 1] = {bucket, 1, 0}
  elseif #answer == found then
    redis.call('ZADD', ended, string.format('%.0f', first), bucket)
  end
  if #answer > limit or look <= 0 or number == limit then
    answer[1] = 1
    break
  end
end
return answer
