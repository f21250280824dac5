#!lua flags=allow-oom
-- begin: note that a suspect's handler is called now. The loss of its worker counts against the attempt from now on.
-- ARGV[2]  id     ARGV[3]  attempt, the fencing token
-- Returns  nothing. If the attempt is over, it changes nothing.
-- Cost     O(1). Safe to repeat.
local key = workload_prefix .. ARGV[2]
if redis.call('HGET', key, 'attempt') == ARGV[3] then redis.call('HSET', key, 'suspect', 0) end
