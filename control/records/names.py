"""The names people give to data sets, models and aliases, and what they call jobs."""

import re

from control.errors import InvalidRequest

NOUNS = {"pretrain": "run", "evaluate": "evaluation", "export": "export", "check": "scan", "import": "import"} | {
    "extract": "extraction"
}
"""What people call a run of each kind."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(path: str, name: str) -> str:
    """The name itself; raises `InvalidRequest` at `path` when it could not be told from a reference or a URL part."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(path, "must be 1 to 100 letters, digits, '.', '_' or '-', a letter or digit first")
    return name


def parse_number(text: str) -> int | None:
    """A version number from 1, or None."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0 else None


def job_name(kind: str, run_id: str) -> str:
    """`evaluation run_...`"""
    return f"{NOUNS[kind]} {run_id}"
