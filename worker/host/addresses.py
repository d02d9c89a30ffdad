"""Where this host's training processes are reached by those of other hosts."""

import os
import socket
from urllib.parse import urlsplit

import psutil

from control.settings import Settings

_INTERFACE_SETTINGS = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def own_address(settings: Settings) -> str:
    """`DETCO_NODE_ADDRESS`, else that of the interface on the way to the database, which every host reaches."""
    if settings.node_address is not None:
        return settings.node_address
    database = urlsplit(settings.database_url or "")
    if not database.hostname:
        return "127.0.0.1"
    family, kind, protocol, _, address = socket.getaddrinfo(
        database.hostname, database.port or 5432, type=socket.SOCK_DGRAM
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)  # a datagram socket: sends nothing, only chooses the way
        return str(probe.getsockname()[0])


def free_endpoint(address: str) -> str:
    """`ADDRESS:PORT` with a port that is free now."""
    with socket.create_server(("", 0)) as probe:
        port = probe.getsockname()[1]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def interface_environment(address: str) -> dict[str, str]:
    """Keeps gloo and NCCL on the interface with that address: gloo would take the one of the host's own name, which is
    the loopback on many machines. What the operator has set stays.
    """
    for name, given in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == address for one in given):
            return {setting: name for setting in _INTERFACE_SETTINGS if setting not in os.environ}
    return {}
