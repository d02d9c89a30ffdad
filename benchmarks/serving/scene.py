"""What every figure starts from: bundles, pictures on disk, a driver, and servers when they are asked for."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.serving.bundles import resnet50, tiny
from benchmarks.serving.driver import Driver, Load, driver
from benchmarks.serving.peers.processes import PEERS, PeerFailed, peer
from benchmarks.serving.pictures import jpeg, keep
from benchmarks.serving.profiles import Profile
from benchmarks.serving.service import Service, service
from benchmarks.serving.target import Target


@dataclass(frozen=True)
class Scene:
    """Lives as long as `scene`'s block; a server is started by the first figure that wants it."""

    profile: Profile
    folder: Path
    driver: Driver
    peers: Sequence[str]
    stack: ExitStack
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of every server, beside those a figure asks for: what it computes on."""
    failed: dict[str, str] = field(default_factory=dict)
    """Peers that could not be had, and why."""

    @cached_property
    def bundles(self) -> list[Path]:
        """Two, of different weights."""
        if self.profile.network == "tiny":
            return [tiny(self.folder / f"tiny-{seed}", seed) for seed in range(2)]
        return [resnet50(seed) for seed in range(2)]

    @property
    def model(self) -> Path:
        """The ONNX file of the first bundle."""
        return self.bundles[0] / "model.onnx"

    @cached_property
    def picture(self) -> str:
        """The path of the picture that is sent where nothing else is said."""
        return self.pictures("picture", [jpeg(self.profile.picture)])[0]

    def pictures(self, name: str, pictures: Sequence[bytes]) -> list[str]:
        """Their paths."""
        return [str(path) for path in keep(self.folder / "pictures", name, pictures)]

    @property
    def device(self) -> str:
        """What servers and the floor compute on."""
        return self.settings.get("serve_device", "cpu")

    @property
    def query(self) -> dict[str, Any]:
        """What a request asks for: the peers can nothing else."""
        return {"resize": {"height": self.profile.side, "width": self.profile.side}}

    @cached_property
    def server(self) -> Target:
        """Ours, warm."""
        started = self.stack.enter_context(self.service("shared", "--only", "features"))
        target = started.target(**self.query)
        self.warm(target)
        return target

    @cached_property
    def others(self) -> list[Target]:
        """The peers that start, warm."""
        started = []
        for name in self.peers:
            try:
                target = self.stack.enter_context(peer(name, self.model, self.profile.side, self.folder))
                self.warm(target)
                started.append(target)
            except PeerFailed as error:
                self.failed[name] = str(error)
        return started

    @contextmanager
    def service(self, name: str, *words: str, bundles: int = 1, **settings: str) -> Iterator[Service]:
        """Ours, of its own."""
        with service(self.folder / name, self.bundles[:bundles], *words, **self.settings, **settings) as started:
            yield started

    def warm(self, target: Target, callers: int = 4) -> None:
        """Raises `RuntimeError` when it does not answer."""
        answers = self.driver.load(Load(target, [self.picture] * (2 * callers), callers))
        if wrong := {answer.status for answer in answers} - {200}:
            raise PeerFailed(f"{target.name} answers {wrong} to a good picture")

    def alone(self, target: Target, requests: int = 9) -> float:
        """Seconds a request takes when there is no other."""
        answers = self.driver.load(Load(target, [self.picture] * requests))
        return statistics.median(answer.seconds for answer in answers)


@contextmanager
def scene(profile: Profile, folder: Path, peers: Sequence[str] = PEERS, **settings: str) -> Iterator[Scene]:
    """Everything that is started ends with the block."""
    with driver() as started, ExitStack() as stack:
        yield Scene(profile, folder, started, peers, stack, settings)
