#!lua flags=allow-oom
-- open: make the queue and its consumer group, reading from the start. Runs also when Redis is full, because workers
-- that start then free memory by finishing workloads.
-- Returns  1 made now · 0 it existed
-- Cost     O(1). Safe to repeat.
local made = redis.pcall('XGROUP', 'CREATE', queue, 'workers', '0', 'MKSTREAM')
if not made.err then return 1 end
if string.sub(made.err, 1, 9) == 'BUSYGROUP' then return 0 end
return made
