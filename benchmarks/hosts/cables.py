"""Hosts of their own network namespaces, each with a cable to this machine that can be pulled. Needs root."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

_NETWORK = "10.231"
_PREFIX = 24


@dataclass(frozen=True)
class Cable:
    """One host's way to this machine, and so to the database; whatever lies on a disk it reaches without."""

    entry: tuple[str, ...]
    """Put before a command, this starts it on the host."""
    address: str
    """Of this machine, as the host sees it."""
    name: str

    @property
    def network(self) -> str:
        return f"{self.address}/{_PREFIX}"

    def pull(self) -> None:
        """From now on every packet is lost, those of open connections too, and nobody is told."""
        _ip("link", "set", self.name, "down")

    def plug_in(self) -> None:
        _ip("link", "set", self.name, "up")


@contextmanager
def cables(hosts: Sequence[str]) -> Iterator[dict[str, Cable]]:
    """A namespace and a cable for each; gone when the block ends.

    Raises:
        PermissionError: we may not.
    """
    with ExitStack() as stack:
        yield {host: stack.enter_context(_cable(host, number)) for number, host in enumerate(hosts)}


@contextmanager
def _cable(host: str, number: int) -> Iterator[Cable]:
    # A pair of tests may do this at the same time.
    space, near, far = (f"dt{os.getpid() % 10**6}{host[:4]}{end}" for end in ("", "n", "f"))
    third = (os.getpid() * 2 + number) % 250
    made = Cable(("ip", "netns", "exec", space), f"{_NETWORK}.{third}.1", near)
    try:
        _ip("netns", "add", space)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        _ip("addr", "add", made.network, "dev", near)
        _ip("-n", space, "addr", "add", f"{_NETWORK}.{third}.2/{_PREFIX}", "dev", far)
        for command in (("link", "set", near), ("-n", space, "link", "set", far), ("-n", space, "link", "set", "lo")):
            _ip(*command, "up")
        yield made
    finally:
        subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise PermissionError(f"ip {' '.join(words)}: {done.stderr.strip()}")
