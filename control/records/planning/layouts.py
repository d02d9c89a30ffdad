"""How many training processes a run has, and on how many hosts."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Layout(NamedTuple):
    """The same number of processes on every node; each takes a GPU, or a CPU training place."""

    gpus: int
    """On each node."""
    nodes: int = 1

    @property
    def processes(self) -> int:
        return self.gpus * self.nodes

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Layout":
        """That of a pretraining run's spec."""
        return cls(spec["gpus"], spec.get("nodes", 1))
