"""Cuts the connection of a caller who takes no answer: gRPC itself has no bound on that, and no way to drop a call.

In HTTP/2 an answer waits until its reader has room for it. One who never has, but answers pings, would keep answer and
call for good. As over HTTP the connection is cut, with all of its calls: they come from one caller, or one proxy.
"""

import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

_OURS = Path("/proc/self/fd")
"""Every file that this process has open. Nothing is cut on a system that does not have it."""


def cut(peer: str) -> bool:
    """Cut the connection to gRPC's name of the other end, as `ipv4:127.0.0.1:5000`; whether there was one. Blocks."""
    kind, _, place = unquote(peer).partition(":")
    host, _, port = place.rpartition(":")
    if kind not in ("ipv4", "ipv6") or not _OURS.is_dir():
        return False
    other = (host.strip("[]").partition("%")[0], int(port))
    return any(_cut_if(int(entry.name), other) for entry in list(_OURS.iterdir()) if _is_socket(entry))


def _is_socket(entry: Path) -> bool:
    try:
        return entry.readlink().name.startswith("socket:")
    except OSError:  # closed by now
        return False


def _cut_if(descriptor: int, other: tuple[str, int]) -> bool:
    """Whether the socket leads there, and was cut. It stays gRPC's own, which closes it."""
    with suppress(OSError):
        ours = socket.socket(fileno=descriptor)
        try:
            if ours.family in (socket.AF_INET, socket.AF_INET6) and _end(ours) == other:
                ours.shutdown(socket.SHUT_RDWR)
                return True
        finally:
            ours.detach()
    return False


def _end(ours: socket.socket) -> tuple[str, int]:
    """The other end, which gRPC names as IPv4 where IPv6 carries it."""
    host, port = ours.getpeername()[:2]
    return str(host).removeprefix("::ffff:"), int(port)
