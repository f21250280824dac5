#!lua flags=allow-oom
-- reopen: take workloads again, in a queue that is there: what removes a deleted API may have come in between.
-- Cost     O(1). Safe to repeat.
local made = redis.pcall('XGROUP', 'CREATE', queue, 'workers', '0', 'MKSTREAM')
if made.err and string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then return made end
redis.call('DEL', closed)
return 1
