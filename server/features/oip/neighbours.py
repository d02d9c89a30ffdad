"""Who may share memory with this server: clients on the same machine."""

import ipaddress

from control.errors import Forbidden
from server.features.errors import BadTensor
from server.features.oip.requests import Region
from server.features.oip.shared_memory import SharedMemory


class Neighbour:
    """Shared memory as one caller may use it."""

    def __init__(self, regions: SharedMemory | None, host: str) -> None:
        """`regions`: None where clients may not share memory. `host`: the caller's; "" on a Unix socket."""
        self._regions = regions
        self._host = host

    @property
    def regions(self) -> SharedMemory:
        """Raises `Forbidden` for a client on another machine, `BadTensor` where it is switched off."""
        if self._host and not _is_loopback(self._host):
            raise Forbidden("shared memory is for clients on this machine")
        if self._regions is None:
            raise BadTensor("shared memory is switched off on this server (DETCO_SHARED_MEMORY)")
        return self._regions

    def read(self, region: Region) -> memoryview:
        """As of `SharedMemory`."""
        return self.regions.read(region)

    def write(self, region: Region, data: memoryview) -> None:
        """As of `SharedMemory`."""
        self.regions.write(region, data)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:  # a name that something in front has put in the address's place
        return False
