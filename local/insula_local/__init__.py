"""`insula up`: every part of Insula on one machine, from wheels, in one process tree.

    settings     the options and the environment of `insula up`
    preflight    checks before anything starts
    plan         the checked settings, projects and programs of a stack
    up           locks the data directory, chooses the ports and runs the stack
    datadir      the data directory: files kept between runs, and their lock
    parts        the parts: command, environment, sockets
    stack        the order in which parts start and stop
    api          an API of the stack, and the state last shown to the user
    machine      this machine: programs, free ports, disk space, the hosts file, a network namespace
    seaweedfs    SeaweedFS' identities and settings, and our bucket
    supervision  starts, probes, restarts and stops a part, and collects its output
    rollout      deploys the APIs at the start and with --watch, and waits until each is ready
    view         the output for the user, as plain lines or on a terminal; it never blocks
    scrapes      the HTTP server of the metrics of results and workers, for Prometheus
    envoy_admin  asks Envoy to close its listeners

One process with one event loop does all of this. Blocking work runs in threads: reading and packing a project, and
calls to submit and to workers. Children are started only from the loop's thread, because a child is killed when the
thread that started it ends.

Linux only: it uses the parent-death signal, pidfds and /proc.
"""
