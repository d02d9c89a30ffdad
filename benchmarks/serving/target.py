"""A server under load: where it listens, how it wants its pictures, and what its processes have used."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil


@dataclass(frozen=True, slots=True)
class Spent:
    """What a number of images took."""

    images: int
    seconds: float
    cpu_seconds: float
    """Of all processes of the server."""

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of processor time an image."""
        return 1000 * self.cpu_seconds / self.images

    @property
    def per_second(self) -> float:
        """Images a second."""
        return self.images / self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One server."""

    name: str
    host: str
    port: int
    path: str
    """With its query; over gRPC the model."""
    pid: int
    """Of the process that was started; its children count."""
    headers: dict[str, str] = field(default_factory=dict)
    form: Literal["raw", "multipart", "v2", "grpc", "stream"] = "raw"
    part: str = "image"
    """The form's part that holds the picture."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Of a request of the Open Inference Protocol."""

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far, those included that have ended."""
        total = 0.0
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def rss(self) -> int:
        """Bytes of memory that its processes hold; what they share counts in each."""
        total = 0
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def _processes(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        return []
