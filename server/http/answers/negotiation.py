"""What a client says it takes, and which of the formats offered it would like best (RFC 9110, 12.5.1)."""

from collections.abc import Sequence
from typing import TypeVar

from starlette.requests import HTTPConnection

Media = TypeVar("Media", bound=str)


def listed(request: HTTPConnection, header: str) -> str:
    """A header that is a list, whole: it may come in several lines (RFC 9110, section 5.3)."""
    return ", ".join(request.headers.getlist(header))


def choose(accept: str | None, offered: Sequence[Media]) -> Media | None:
    """The offered media type that `Accept` weighs highest, the earlier one where equal; None when it takes none."""
    if accept is None or not accept.strip():
        return offered[0]
    wishes = [wish for part in accept.split(",") if (wish := _wish(part)) is not None]
    weights = {media: _weight(media, wishes) for media in offered}
    best = max(offered, key=lambda media: weights[media])
    return best if weights[best] > 0 else None


def _wish(part: str) -> tuple[str, float] | None:
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    try:
        return media, float(weight)
    except ValueError:
        return None


def _weight(media: str, wishes: Sequence[tuple[str, float]]) -> float:
    """By the most exact wish that covers the type."""
    for exact in (media, media.partition("/")[0] + "/*", "*/*"):
        found = [weight for wish, weight in wishes if wish == exact]
        if found:
            return max(found)
    return 0.0
