"""Whom the service may call: the addresses a person may make it connect to, by a webhook for example.

A name is checked when it is connected to, not only when it is given: whoever owns a name may let it point anywhere
later. So callers resolve once, have every address checked here, and connect to the very address that was checked.
"""

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from control.errors import InvalidRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAX_URL = 2000
_METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
"""Where clouds hand out credentials to whoever asks from inside; never called, whatever a setting says."""
_NAT64 = ip_network("64:ff9b::/96")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class ForbiddenAddress(Exception):
    """The address is one the service does not call; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL points."""

    scheme: str
    host: str
    port: int


def read_url(url: str) -> Place:
    """Where an http or https URL points.

    Raises:
        InvalidRequest: it is not one that may be called, whatever it resolves to.
    """
    if len(url) > _MAX_URL or _UNPRINTABLE.search(url):
        raise InvalidRequest("url", f"give at most {_MAX_URL} printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidRequest("url", f"is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise InvalidRequest("url", "give an http or https URL with a host, as https://example.org/detco")
    if "@" in parts.netloc or "\\" in url:
        raise InvalidRequest("url", "must hold no user name or password: requests are signed instead")
    if parts.fragment:
        raise InvalidRequest("url", "must have no fragment")
    return Place(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))


def check_url(url: str, networks: Sequence[Network]) -> None:
    """Refuse a URL that could never be called; one with a name is checked again whenever it is called.

    Raises:
        InvalidRequest: it is not an http or https URL, or names a forbidden address.
    """
    place = read_url(url)
    try:
        address = ip_address(place.host)
    except ValueError:
        return
    try:
        check(address, networks)
    except ForbiddenAddress as error:
        raise InvalidRequest("url", str(error)) from error


def resolve(place: Place, networks: Sequence[Network]) -> str:
    """The address to connect to, checked; blocks while the name is looked up.

    Raises:
        ForbiddenAddress: one of the addresses is not to be called; a name that mixes them is not trusted at all.
        OSError: the name has no address.
    """
    found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]).partition("%")[0] for *_, address in found]
    for address in addresses:
        check(ip_address(address), networks)
    return addresses[0]


def check(address: Address, networks: Sequence[Network]) -> None:
    """Raise `ForbiddenAddress` unless the address is public or in one of the networks a setting allows."""
    for one in (address, *_within(address)):
        if one in _METADATA or one.is_link_local or one.is_multicast or one.is_unspecified:
            raise ForbiddenAddress(f"{address} is a link-local, metadata or multicast address, which is never called")
        allowed = any(one.version == network.version and one in network for network in networks)
        if not (one.is_global or allowed or (one is address and _within(address))):
            raise ForbiddenAddress(
                f"{address} is not a public address; to allow a private network, name it in DETCO_WEBHOOK_NETWORKS"
            )


def _within(address: Address) -> list[IPv4Address]:
    """IPv4 addresses that an IPv6 address stands for: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [found for found in inner if found is not None]
