from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from insula_local.machine import ports

ADDRESS = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((ADDRESS, 0)) as server:
        yield server


def test_chosen_ports_are_free_and_outside_the_kernels_range() -> None:
    """Otherwise the kernel could give the port of a part that restarts to an outgoing connection."""
    chosen = ports.choose(["a", "b", "c"], {})
    assert len(set(chosen.values())) == 3
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first_outgoing = int(file.read().split()[0])
    assert all(port >= 10240 and port + ports.GRPC_OFFSET < max(first_outgoing, 21241) for port in chosen.values())


def test_a_remembered_port_is_kept_while_it_is_free(listener: socket.socket) -> None:
    taken = listener.getsockname()[1]
    before = ports.choose(["a"], {})
    chosen = ports.choose(["a", "b"], {**before, "b": taken})
    assert chosen["a"] == before["a"]
    assert chosen["b"] != taken


def test_two_stacks_with_different_addresses_have_different_ports() -> None:
    """SeaweedFS needs a port that is free on every address of the machine."""
    with socket.create_server(("127.0.0.9", 0)) as server:
        taken = server.getsockname()[1]
        assert ports.choose(["a"], {"a": taken})["a"] != taken


def test_no_port_is_the_grpc_port_of_another() -> None:
    """SeaweedFS also uses the port GRPC_OFFSET above a chosen one, for gRPC."""
    before = ports.choose(["a"], {})["a"]
    remembered = {"a": before, "b": before + ports.GRPC_OFFSET}
    for names in (["a", "b"], ["b", "a"]):
        a, b = map(ports.choose(names, remembered).__getitem__, "ab")
        assert {a, a + ports.GRPC_OFFSET}.isdisjoint({b, b + ports.GRPC_OFFSET})


def test_the_owner_of_a_port_is_found(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert not ports.is_free(ADDRESS, port)
    owner = ports.owner(ADDRESS, port)
    assert owner is not None
    assert owner.pid == os.getpid()
    assert "python" in owner.command


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="assign"):
        ports.is_free("192.0.2.1", 8080)
