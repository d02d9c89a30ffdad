"""A host tells the others an address they can reach, and keeps its processes on that interface."""

import socket
from pathlib import Path

import psutil
import pytest

from control.settings import Settings
from worker.host.addresses import free_endpoint, interface_environment, own_address


def loopback() -> str:
    return next(
        name for name, given in psutil.net_if_addrs().items() if any(one.address == "127.0.0.1" for one in given)
    )


@pytest.mark.parametrize(
    ("database", "given", "address"),
    [
        (None, None, "127.0.0.1"),
        ("postgresql://user@/db?host=/run/postgresql", None, "127.0.0.1"),
        ("postgresql://user:secret@127.0.0.1:5433/db", None, "127.0.0.1"),
        ("postgresql://user@127.0.0.1/db", "10.1.2.3", "10.1.2.3"),
    ],
)
def test_it_is_the_one_given_or_the_one_on_the_way_to_the_database(
    tmp_path: Path, database: str | None, given: str | None, address: str
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=database, node_address=given, dataset_roots=("/",))
    assert own_address(settings) == address


def test_the_port_of_an_endpoint_is_free() -> None:
    host, _, port = free_endpoint("127.0.0.1").rpartition(":")
    socket.create_server((host, int(port))).close()
    assert free_endpoint("fd00::1").startswith("[fd00::1]:")


def test_processes_keep_to_the_interface_unless_the_operator_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    assert interface_environment("127.0.0.1") == {"GLOO_SOCKET_IFNAME": loopback()}
    assert interface_environment("203.0.113.9") == {}
