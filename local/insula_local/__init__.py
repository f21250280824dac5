"""`insula up`: every part of Insula on one machine, from wheels, in one process tree.

    settings     what the user asked for
    preflight    what is refused before anything starts
    plan         a stack that may be started
    up           takes the data directory and the ports, and runs the stack
    datadir      what is kept between runs, and who may use it
    parts        what each part is: command, environment, sockets
    stack        which part starts and stops when
    api          an API of the stack, and what the user was last told of it
    machine      this machine: programs, free ports, room on the disk, the hosts file, a network namespace
    seaweedfs    SeaweedFS' identities and settings, and our bucket
    supervision  one part's life: started, probed, watched, started again, stopped; its output
    rollout      deploys the APIs, now and with --watch, and follows each until it is ready
    view         what the user sees, as plain lines or on a terminal; it never waits for its reader
    scrapes      one address for Prometheus
    envoy_admin  asks Envoy to close its listeners

One process and one event loop do all of this. What blocks runs in threads: reading and packing a project, calls of
submit and of workers. Children are started from the loop's thread alone, to which their lives are tied.

Linux only: parts are tied to us by the parent-death signal, watched through pidfds and recognised in /proc.
"""
