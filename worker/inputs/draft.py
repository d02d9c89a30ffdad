"""A job as it is being drafted: what the tables tell of it, and what must be brought before it can begin."""

from dataclasses import dataclass, field
from pathlib import Path

from control.db.models import Run
from worker.inputs.unpacked import Unpacked


@dataclass(frozen=True, slots=True)
class Draft:
    """A job as far as the tables tell it, and the artifacts it needs."""

    run: Run
    fence: int
    """Of the attempt, which may be another's than the run's by now."""
    folder: Path
    unpacked: Unpacked
    needed: dict[Path, tuple[str, str]] = field(default_factory=dict)
    """Where it must lie: its digest, and what it is."""
    kept: dict[Path, str] = field(default_factory=dict)
    """What earlier attempts saved and this one can do without, by where it must lie: its digest."""
    objects: dict[Path, str] = field(default_factory=dict)
    """Where it must lie, and where in S3 it does."""
    archives: list[str] = field(default_factory=list)
    """Digests of those that must lie unpacked on this host."""

    def need(self, name: str, digest: str, what: str) -> str:
        """Ask for an artifact; returns the path it will have."""
        path = self.folder / name
        self.needed[path] = (digest, what)
        return str(path)

    def known_as(self) -> dict[str, str]:
        """What each file that is brought is, by the path it will have."""
        artifacts = {str(path): what for path, (_, what) in self.needed.items()}
        return artifacts | {str(path): place for path, place in self.objects.items()}
