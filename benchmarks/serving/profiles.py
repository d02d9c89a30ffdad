"""How much of everything is done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.serving.pictures import Size


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One size of the whole."""

    network: Literal["resnet50", "tiny"] = "resnet50"
    picture: Size = (640, 480)
    """Of the JPEG that is sent."""
    side: int = 224
    """Of the network's input, height and width."""
    large: Size = (1333, 800)
    """Of the pictures in the burst whose memory must come back."""
    callers: tuple[int, ...] = (1, 4, 16)
    rounds: int = 7
    """Turns of floor, server and peers."""
    images: int = 48
    """In one turn of each."""
    hang_ups: int = 60
    burst: int = 150
    mixed: int = 10_000
    """Requests of mixed sizes."""
    swaps: int = 20
    patience: float = 15.0
    """Seconds without a request until memory that is not given back counts as kept."""


PROFILES: Mapping[str, Profile] = {
    "full": Profile(),
    "quick": Profile(rounds=2, images=16, mixed=400, swaps=4),
    "tiny": Profile(
        network="tiny",
        picture=(80, 60),
        side=32,
        large=(200, 120),
        callers=(1, 4),
        rounds=1,
        images=8,
        mixed=40,
        swaps=2,
        patience=1.0,
    ),
}
"""`full` is what figures are quoted from, `quick` a look, `tiny` for the tests."""
