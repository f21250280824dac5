"""The first process of a handler's process namespace: starts the command, reaps orphans, reports how the command ended.

    python -I -S init.py STATUS_DESCRIPTOR COMMAND_DESCRIPTOR

Reads the command from COMMAND_DESCRIPTOR, each word followed by a NUL. The command is not in the arguments of this
process, so that a search in the list of processes finds it once.

Writes a newline to STATUS_DESCRIPTOR once the command's process exists, and its wait status as text once it has ended.
This is needed because bubblewrap's own exit code does not distinguish a signal from a code above 128. Run as a script;
imports only the standard library.
"""

from __future__ import annotations

import os
import sys


def main(status: int, words: int) -> None:
    """Run the command and exit when it has ended. The kernel then kills all other processes of the namespace."""
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
    # Close our copies of the command's descriptors. Otherwise their readers get no end of file when it closes them.
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
