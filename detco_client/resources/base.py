"""What objects of every kind have."""

from typing import TypedDict


class Resource(TypedDict):
    """What every object has."""

    id: str
    created_at: str
    created_by: str
