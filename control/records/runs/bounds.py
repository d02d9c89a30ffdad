"""What a person may call a run, and how urgent it may be."""

import re
from collections.abc import Mapping

from control.errors import InvalidRequest

LOWEST, HIGHEST = -100, 100
"""Priorities; larger is more urgent."""
_LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")


def check_priority(priority: int) -> None:
    """Raises `InvalidRequest`."""
    if not LOWEST <= priority <= HIGHEST:
        raise InvalidRequest("priority", f"must be between {LOWEST} and {HIGHEST}; larger is more urgent")


def check_labels(labels: Mapping[str, str]) -> None:
    """Raises `InvalidRequest` for a key that is none."""
    for key in labels:
        if not _LABEL_KEY.fullmatch(key):
            raise InvalidRequest(f"labels.{key}", "a label key is 1 to 63 letters, digits, '.', '_', '/' or '-'")
