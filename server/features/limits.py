"""How much the feature engine takes on: of one image, one request, one token, and of all together."""

from dataclasses import dataclass, field

from detco_core.inference.pictures.images import Limits
from detco_core.inference.pictures.preprocess import MAX_NETWORK_PIXELS


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineLimits:
    """What the engine takes on."""

    image: Limits = field(default_factory=Limits)
    """Of one file."""
    network_pixels: int = MAX_NETWORK_PIXELS
    """Of one image after resizing."""
    images: int = 64
    """In one request."""
    boxes: int = 1000
    """In one request."""
    under_way: int = 64
    """Images in the server, over all requests; more are refused."""
    bulk: int | None = None
    """Images in the server up to which bulk requests are let in; None: half of `under_way`."""
    images_per_token: int | None = None
    """Under way at once of one token that has no bound of its own; None: any number."""
    pixels_per_token: int | None = None
    """A second, the same."""
    grid_values: int = 2**28
    """Of one image's regions, also where they are pooled; 1,000 of 7 x 7 on all levels of a ResNet-50 have 2**27.5."""
    reply_bytes: int = 512 * 2**20
    """Of one answer."""
    held_bytes: int = 2**30
    """Of all answers not sent yet."""
    result_bytes: int = 0
    """Of results remembered; 0: none are."""
    decoders: int = 2
    """Threads that decode and finish."""
