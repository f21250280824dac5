"""`insula up`: every part of Insula on one machine, from wheels, in one process tree.

    settings     the options and the environment of `insula up`
    preflight    checks before anything starts
    plan         a checked stack, ready to start
    up           takes the data directory and the ports, and runs the stack
    datadir      the data directory: files kept between runs, and their lock
    parts        the parts: command, environment, sockets
    stack        the order in which parts start and stop
    api          an API of the stack, and the state last shown to the user
    machine      this machine: programs, free ports, room on the disk, the hosts file, a network namespace
    seaweedfs    SeaweedFS' identities and settings, and our bucket
    supervision  starts, probes, watches, restarts and stops a part; takes its output
    rollout      deploys the APIs, now and with --watch, and follows each until it is ready
    view         the output for the user, as plain lines or on a terminal; it never waits for its reader
    scrapes      one address for Prometheus
    envoy_admin  asks Envoy to close its listeners

One process and one event loop do all of this. Blocking work runs in threads: reading and packing a project, calls of
submit and of workers. Children are started only from the loop's thread, because their lives are tied to it.

Linux only: parts are tied to us by the parent-death signal, watched through pidfds and recognised in /proc.
"""
