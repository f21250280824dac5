#!lua flags=allow-oom
-- reopen: accept workloads again. Makes the queue if needed: drop may have removed it since the API was closed.
-- Cost     O(1). Safe to repeat.
local made = redis.pcall('XGROUP', 'CREATE', queue, 'workers', '0', 'MKSTREAM')
if made.err and string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then return made end
redis.call('DEL', closed)
return 1
