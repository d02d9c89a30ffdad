"""What one request of a load came to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """In the order of the pictures."""

    picture: str
    status: int
    """0 when the connection broke."""
    seconds: float
    retry_after: str | None = None
    version: int | None = None
    """Of the model, where the answer says it."""
    digest: str = ""
    """Of the tensors."""
