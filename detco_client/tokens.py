"""Tokens: who may do what."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast
from urllib.parse import quote

from detco_client.resources.access import NewToken, Quota, Token
from detco_client.transport import Transport


class Tokens:
    """`client.tokens`; needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        models: Sequence[str] | None = None,
        expires_in_seconds: int | None = None,
        quota: Mapping[str, int | None] | None = None,
    ) -> NewToken:
        """A new token; its secret is in the answer and nowhere else.

        Args:
            name: whose or what for.
            scopes: of `read`, `features`, `submit`, `admin`.
            models: limits it to these models; None: all.
            expires_in_seconds: ends it by itself; None: never.
            quota: the most it may have at once: jobs `running`, training `slots` they hold, jobs `queued`; of each
                feature server `images` under way and `pixels_per_second`.
        """
        body: dict[str, object] = {"name": name, "scopes": list(scopes)}
        body |= {"models": list(models)} if models else {}
        body |= {"expires_in_seconds": expires_in_seconds} if expires_in_seconds else {}
        body |= {"quota": dict(quota)} if quota else {}
        return cast(NewToken, self._transport.post("/v1/tokens", body))

    def quota(self, id: str) -> Quota:
        """What a token may have at once, and what it has."""
        return cast(Quota, self._transport.get(f"{_path(id)}/quota"))

    def set_quota(
        self,
        id: str,
        *,
        running: int | None = None,
        slots: int | None = None,
        queued: int | None = None,
        images: int | None = None,
        pixels_per_second: int | None = None,
    ) -> Quota:
        """Change what a token may have at once; None: any number, or as a feature server is set."""
        body = {"running": running, "slots": slots, "queued": queued}
        body |= {"images": images, "pixels_per_second": pixels_per_second}
        return cast(Quota, self._transport.put(f"{_path(id)}/quota", body))

    def rotate(self, id: str, grace_seconds: int = 3600) -> NewToken:
        """A new token with the same rights; the old one is taken for `grace_seconds` still."""
        return cast(NewToken, self._transport.post(f"{_path(id)}/rotate", {"grace_seconds": grace_seconds}))

    def get(self, id: str) -> Token:
        return cast(Token, self._transport.get(_path(id)))

    def revoke(self, id: str) -> None:
        """Servers forget a revoked token within 30 s."""
        self._transport.delete(_path(id))

    def list(self) -> Iterator[Token]:
        return self._transport.items("/v1/tokens")


def _path(id: str) -> str:
    return f"/v1/tokens/{quote(id, safe='')}"
