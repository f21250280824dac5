#!lua flags=allow-oom
-- abandon: cancel running workloads of a deleted API whose lease was not renewed, because their worker is gone.
-- ARGV[2]  idle time after which a lease counts as lost, ms > 0     ARGV[3]  retention, seconds > 0
-- ARGV[4]  most workloads to cancel, > 0
-- Returns  the number of cancelled workloads
-- Cost     O(pending entries of the API). Safe to repeat; does nothing to an API that is not deleted.
local idle_ms, retention_s, count = ARGV[2], tonumber(ARGV[3]), ARGV[4]
if redis.call('EXISTS', closed) == 0 then return 0 end
local group = redis.pcall('XPENDING', queue, 'workers', 'IDLE', idle_ms, '-', '+', count)
if group.err then return 0 end  -- no queue, so no workload is running
local cancelled = 0
for _, pending in ipairs(group) do
  local entry = redis.call('XRANGE', queue, pending[1], pending[1])[1]
  local id = entry and entry[2][2]
  local record = id and redis.call('HMGET', workload_prefix .. id, 'status', 'attempt') or {}
  if record[1] == 'in_progress' or record[1] == 'in_queue' then
    end_workload(id, pending[1], record[1], 'cancelled', record[2], retention_s, 'none', '')
    cancelled = cancelled + 1
  else
    drop_entry(pending[1])
  end
end
return cancelled
