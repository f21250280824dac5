"""Hosts that a bridge joins. Each is a set of namespaces: network, mounts, processes and host name.

A host ends with its init process, which reads from a pipe of this process. So the kernel ends all hosts and their
processes, also if this process is killed. Nothing is changed outside of the hosts.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import IO, Final, Self, TypeVar

T = TypeVar("T")

NETWORK: Final = "10.77.0"
INIT: Final = """
set -e
hostname "$1"
mount --bind "$2" "$(readlink -f /etc/resolv.conf)"
ip link set lo up
echo up
read -r _ || true
"""
_CLONE_NEWNET: Final = 0x40000000


class Host:
    """One host. `address` is its address on the bridge."""

    def __init__(self, name: str, address: str, resolver: Path) -> None:
        """Start it. `resolver` is the file that its programs read as /etc/resolv.conf."""
        self.name: Final = name
        self.address: Final = address
        unshare = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
        command = (*unshare, "bash", "-c", INIT, "init", name, str(resolver))
        self._init = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == "up\n", f"host {name} did not start"
        own = Path("/proc") / str(self._init.pid) / "ns"
        self._words = (
            "nsenter",
            *(f"--{flag}={own / file}" for flag, file in (("net", "net"), ("mount", "mnt"), ("uts", "uts"))),
            f"--pid={own / 'pid_for_children'}",
        )

    @property
    def pid(self) -> int:
        """A process in the host's network namespace."""
        return self._init.pid

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], directory: Path | None = None
    ) -> Process:
        """Start a program on this host. Its output goes to `log`."""
        words = [*self._words, f"--wdns={directory or '/'}", "--", *command]
        return Process(subprocess.Popen(words, env=environment, stdout=log, stderr=log))

    def run(self, *command: str, environment: Mapping[str, str] | None = None, within_s: float = 120) -> str:
        """Run a program on this host until it ends. Return its output. Raises CalledProcessError."""
        words = [*self._words, "--", *command]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True, text=True, timeout=within_s)
        return done.stdout

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` in a thread whose new sockets belong to this host. It sees the DNS of this machine."""
        results, errors = list[T](), list[BaseException]()

        def inside() -> None:
            try:
                self._enter()
                results.append(function())
            except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
                errors.append(error)

        thread = Thread(target=inside)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def _enter(self) -> None:
        with open(f"/proc/{self.pid}/ns/net") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def drop(self, other: Host) -> None:
        """Drop all packets to and from the other host. Open connections stay open on both sides."""
        self.run("iptables", "-A", "OUTPUT", "-d", other.address, "-j", "DROP")
        self.run("iptables", "-A", "INPUT", "-s", other.address, "-j", "DROP")

    def reset(self, other: Host) -> None:
        """Let the other host refuse every packet from this one. Open connections end with their next packet."""
        other.run(
            "iptables", "-A", "INPUT", "-s", self.address, "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"
        )

    def end(self) -> None:
        """End the host and all its processes."""
        assert self._init.stdin is not None
        assert self._init.stdout is not None
        self._init.stdin.close()
        self._init.wait(timeout=60)
        self._init.stdout.close()


class Process:
    """A program on a host. nsenter is its parent, and does not pass signals on."""

    def __init__(self, parent: subprocess.Popen[bytes]) -> None:
        self._parent = parent

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program, not to its children."""
        children = Path(f"/proc/{self._parent.pid}/task/{self._parent.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), number)

    def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 60) -> int:
        """Send the signal and wait until the program has ended. Return its exit code."""
        self.send(number)
        return self._parent.wait(timeout=within_s)

    @property
    def running(self) -> bool:
        """Whether the program still runs."""
        return self._parent.poll() is None


class Network:
    """A bridge and its hosts. All of them end with the `with` block."""

    def __init__(self, folder: Path) -> None:
        """`folder` gets the file with the DNS settings of all hosts."""
        self._ending = ExitStack()
        self._resolver = folder / "resolv.conf"
        self._resolver.write_text(
            f"nameserver {NETWORK}.2\nsearch ml.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
        )
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        self._switch = self._begin("switch", "")
        self._switch.run("ip", "link", "add", "bridge", "type", "bridge")
        self._switch.run("ip", "link", "set", "bridge", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    def host(self, name: str) -> Host:
        """Return a new host, plugged in. The first one has the address of the DNS server."""
        assert name not in self.hosts
        host = self.hosts[name] = self._begin(name, f"{NETWORK}.{len(self.hosts) + 2}")
        port = _port(host)
        ends = ("name", "eth0", "netns", str(host.pid), "type", "veth")
        subprocess.run(["ip", "link", "add", *ends, "peer", "name", port, "netns", str(self._switch.pid)], check=True)
        self._switch.run("ip", "link", "set", port, "master", "bridge", "up")
        host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        return host

    def unplug(self, host: Host) -> None:
        """Cut the host off, as if its cable was pulled."""
        self._switch.run("ip", "link", "set", _port(host), "down")

    def mend(self) -> None:
        """Undo every `unplug`, `drop` and `reset`."""
        for host in self.hosts.values():
            host.run("iptables", "-F")
            self._switch.run("ip", "link", "set", _port(host), "up")

    def _begin(self, name: str, address: str) -> Host:
        host = Host(name, address, self._resolver)
        self._ending.callback(host.end)
        return host


def _port(host: Host) -> str:
    """Return the name of the host's port on the bridge. The kernel allows 15 characters."""
    return f"p{host.address.rpartition('.')[2]}"
