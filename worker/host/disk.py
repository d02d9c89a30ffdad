"""A disk of this host that is full: told from other faults, and told so that a person can mend it."""

import errno
import shutil
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LITTLE = 64 * 1024
"""Bytes: where less is free, a job cannot say why it ended either."""


def is_full(error: OSError) -> bool:
    """Whether it is the disk that took no more."""
    return error.errno in _FULL


def complaint(folder: Path) -> str:
    """What is wrong with the disk the folder lies on, and the remedy; empty while there is room."""
    return no_room(folder) if shutil.disk_usage(folder).free < _LITTLE else ""


def no_room(folder: Path) -> str:
    """That the disk of the folder is full, and the remedy."""
    return f"the disk of {folder} is full: free space there, or move DETCO_DATA_DIR to a larger one"
