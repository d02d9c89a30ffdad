"""How a server holds its models: where, how many, and what they run on."""

from dataclasses import dataclass, field
from pathlib import Path

from detco_core.inference.sessions.execution import Execution
from server.features.waiting import Batching


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingOptions:
    """How models are held."""

    folder: Path
    """`DATA_DIR/serving`"""
    default_model: str | None = None
    max_loaded: int = 4
    """Versions held at once; those an alias names or a consumer pinned are always held, and count."""
    max_bytes: int | None = None
    """Of their weights, in the same way; None: any number."""
    ahead: int = 2
    """Decoded images that may wait for one model."""
    poll_seconds: float = 1.0
    """Between two looks at the catalogue."""
    execution: Execution = field(default_factory=Execution)
    batching: Batching = field(default_factory=Batching)
