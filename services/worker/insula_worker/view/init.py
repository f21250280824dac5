"""The first process of a handler's process namespace: starts the command, reaps orphans, reports how the command ended.

    python -I -S init.py STATUS_DESCRIPTOR COMMAND_DESCRIPTOR

The command comes by a descriptor, its words ended by NULs: in a list of processes only the command looks like itself.

Writes a newline to the descriptor once the command's process is there, and its wait status as text once it has ended:
bubblewrap's own exit code cannot tell a signal from a code above 128. Run as a script; it needs the standard library
and nothing else.
"""

from __future__ import annotations

import os
import sys


def main(status: int, words: int) -> None:
    """Return when the command has ended. Whatever else runs in the namespace then ends with us."""
    with open(words, "rb") as file:
        command = [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    child = os.fork()
    if child == 0:
        os.close(status)
        os.setsid()
        try:
            os.execvp(command[0], command)
        except OSError as error:
            sys.stderr.write(f"{command[0]}: {error.strerror}\n")
            sys.stderr.flush()
        os._exit(1)
    # What the command inherits is its own: an end of file that it causes must be one.
    os.closerange(0, status)
    os.closerange(status + 1, os.sysconf("SC_OPEN_MAX"))
    os.write(status, b"\n")
    ended = how = 0
    while ended != child:
        ended, how = os.wait()
    os.write(status, b"%d" % how)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
