#!lua flags=allow-oom
-- renew: extend leases by a full lease length, counted from Redis' clock.
-- ARGV[2]  consumer, the worker's name
-- ARGV[3…] triples: id, attempt (the fencing token), entry id
-- Returns  per triple 1 renewed · 0 this attempt has ended or was given back, or its record is damaged · -1 lease lost
-- Cost     O(leases). Safe to repeat.
local consumer = ARGV[2]
local answer = {}
for i = 3, #ARGV, 3 do
  local id, attempt, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local readable, status, holder = pcall(state_of, id)
  local held = not readable or holder == attempt and status ~= 'cancelled'
  local running = held and status == 'in_progress'
  if running then redis.call('XCLAIM', queue, 'workers', consumer, 0, entry, 'JUSTID') end
  answer[#answer + 1] = running and 1 or held and 0 or -1
end
return answer
