"""What the stub has, what it was asked, and what it is to do wrong."""

from dataclasses import dataclass, field
from typing import Any

from fastapi.responses import JSONResponse

MADE = {"created_at": "2026-01-02T03:04:05Z", "created_by": "tester"}


@dataclass
class State:
    """What the service has, what it was asked, and what it is to do wrong."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    refuse: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Answers given, in order, before any real one."""
    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    drop_after: list[int] = field(default_factory=list)
    """How many events each connection carries before it breaks; connections behind the list are whole."""
    file: bytes = bytes(range(256)) * 64
    sha256: str = ""
    cut_after: list[int] = field(default_factory=list)
    """How many bytes of the file each answer carries before it breaks."""
    ranges: bool = True

    def headers(self, path: str) -> list[dict[str, str]]:
        return [headers for _, asked, headers in self.requests if asked.split("?")[0] == path]


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    document = {"status": status, "code": code, "title": code, "detail": detail, "errors": [], "request_id": "req_7"}
    return JSONResponse(document | more, status, headers, media_type="application/problem+json")
