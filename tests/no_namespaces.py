"""Run a command on a kernel that grants no namespaces: `python no_namespaces.py COMMAND [ARGUMENT ...]`.

A seccomp filter refuses unshare, setns, mount, and clone with a flag of a namespace, as Docker's default filter does.
The command's children inherit it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2
ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EPERM
MISSING: Final = 0x00050000 | errno.ENOSYS
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # of classic BPF
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16  # in struct seccomp_data
NAMESPACES: Final = 0x7E020000  # every CLONE_NEW*
CALLS: Final = {
    "x86_64": {"clone": 56, "unshare": 272, "setns": 308, "mount": 165, "clone3": 435},
    "aarch64": {"clone": 220, "unshare": 97, "setns": 268, "mount": 40, "clone3": 435},
}


class Program(ctypes.Structure):
    """The kernel's struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def instructions() -> list[tuple[int, int, int, int]]:
    """Code, jumps if true and if false, value. clone3's flags are out of a filter's reach: glibc does without it."""
    calls = CALLS[platform.machine()]
    refused = [(LOAD, 0, 0, NUMBER_AT)]
    for name in ("unshare", "setns", "mount"):
        refused += [(EQUAL, 0, 1, calls[name]), (RETURN, 0, 0, REFUSE)]
    refused += [(EQUAL, 0, 1, calls["clone3"]), (RETURN, 0, 0, MISSING)]
    refused += [(EQUAL, 0, 3, calls["clone"]), (LOAD, 0, 0, FIRST_ARGUMENT_AT)]
    return [*refused, (ANY_BIT, 0, 1, NAMESPACES), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]


def main(command: list[str]) -> None:
    """Install the filter and become the command."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions())
    program = Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
