#!lua flags=allow-oom
-- sample: count the workloads that wait or run, and record the count as the sample of the current slot of time. The
-- first call in a slot records; later ones only read. Runs also when Redis is full, because more workers free memory.
-- KEYS[8]  samples hash: start of a slot, in ms -> workloads
-- ARGV[2]  window, ms > 0     ARGV[3]  length of a slot, ms > 0
-- Returns  {workloads now, sum of the samples that are younger than the window, their number > 0}
-- Cost     O(window / slot). Safe to repeat.
local samples, window_ms, slot_ms = KEYS[8], tonumber(ARGV[2]), tonumber(ARGV[3])
local now, at = 0, tonumber(now_ms())
for _, count in ipairs(redis.call('HMGET', counts, 'in_queue', 'in_progress')) do
  now = now + (tonumber(count) or 0)
end
if redis.call('HSETNX', samples, string.format('%.0f', at - at % slot_ms), now) == 1 then
  redis.call('PEXPIRE', samples, window_ms)
end

local sum, number = 0, 0
local pairs_of = redis.call('HGETALL', samples)
for i = 1, #pairs_of, 2 do
  if tonumber(pairs_of[i]) > at - window_ms then
    sum, number = sum + tonumber(pairs_of[i + 1]), number + 1
  else
    redis.call('HDEL', samples, pairs_of[i])
  end
end
return {now, sum, number}
