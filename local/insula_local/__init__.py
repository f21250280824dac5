"""`insula up`: every part of Insula on one machine, from wheels, in one process tree.

    settings     what the user asked for
    preflight    what is refused before anything starts
    plan         what the program that reads the command line hands to the one that runs the stack, `__main__`
    datadir      what is kept between runs, and who may use it
    parts        what each part is: command, environment, sockets
    stack        which part starts and stops when
    machine      this machine: programs, free ports, room on the disk, the hosts file, a network namespace
    seaweedfs    SeaweedFS' identities and settings, and our bucket
    supervision  one part's life: started, probed, watched, started again, stopped; its output
    rollout      a child process that prepares the stores and deploys the APIs, then ends
    view         what the user sees, as plain lines or on a terminal; it never waits for its reader
    scrapes      one address for Prometheus
    envoy_admin  asks Envoy to close its listeners

Linux only: parts are tied to us by the parent-death signal, watched through pidfds and recognised in /proc.
"""
