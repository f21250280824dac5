"""Run a command that cannot create namespaces: `python no_namespaces.py [processes|layers] COMMAND [ARGUMENT ...]`.

A seccomp filter refuses unshare, setns, mount, and clone with a namespace flag, as Docker's default filter does.
`processes` refuses only process namespaces. `layers` refuses only overlay mounts. Child processes inherit the filter.
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
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # opcodes of classic BPF
NUMBER_AT, ARGUMENTS_AT = 0, 16  # offsets in struct seccomp_data; an argument has 8 bytes
NAMESPACES: Final = 0x7E020000  # every CLONE_NEW*
PROCESS_NAMESPACE: Final = 0x20000000  # CLONE_NEWPID
NO_FLAGS: Final = 0xC0ED0000  # MS_MGC_VAL: bubblewrap passes these flags only when it mounts an overlay
CALLS: Final = {
    "x86_64": {"clone": 56, "unshare": 272, "setns": 308, "mount": 165, "clone3": 435},
    "aarch64": {"clone": 220, "unshare": 97, "setns": 268, "mount": 40, "clone3": 435},
}

Instruction = tuple[int, int, int, int]
"""An instruction of BPF: opcode, instructions to skip if true, instructions to skip if false, value."""


class Program(ctypes.Structure):
    """The kernel's struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def always(call: str, answer: int = REFUSE) -> list[Instruction]:
    """Return a rule that refuses a system call.

    A rule expects the number of the system call in the accumulator of BPF, and leaves it there.
    """
    return [(EQUAL, 0, 1, CALLS[platform.machine()][call]), (RETURN, 0, 0, answer)]


def where(call: str, argument: int, test: int, value: int) -> list[Instruction]:
    """Return a rule that refuses a system call if the argument with this index passes the comparison `test`."""
    look = [(LOAD, 0, 0, ARGUMENTS_AT + 8 * argument), (test, 0, 1, value), (RETURN, 0, 0, REFUSE)]
    return [(EQUAL, 0, len(look) + 1, CALLS[platform.machine()][call]), *look, (LOAD, 0, 0, NUMBER_AT)]


# A filter cannot read clone3's flags. If clone3 is missing, glibc uses clone.
NO_CLONE3: Final = always("clone3", MISSING)
FILTERS: Final = {
    "namespaces": [
        *(rule for call in ("unshare", "setns", "mount") for rule in always(call)),
        *NO_CLONE3,
        *where("clone", 0, ANY_BIT, NAMESPACES),
    ],
    "processes": [
        *NO_CLONE3,
        *where("unshare", 0, ANY_BIT, PROCESS_NAMESPACE),
        *where("clone", 0, ANY_BIT, PROCESS_NAMESPACE),
    ],
    "layers": where("mount", 3, EQUAL, NO_FLAGS),
}


def main(words: list[str]) -> None:
    """Install the filter and execute the command in this process."""
    name, command = (words[0], words[1:]) if words[0] in FILTERS else ("namespaces", words)
    instructions = [(LOAD, 0, 0, NUMBER_AT), *FILTERS[name], (RETURN, 0, 0, ALLOW)]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
