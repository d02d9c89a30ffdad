"""Tokens: who may do what."""

from collections.abc import Iterator, Sequence
from typing import cast
from urllib.parse import quote

from detco_client.resources import NewToken, Token
from detco_client.transport import Transport


class Tokens:
    """`client.tokens`; needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, scopes: Sequence[str], models: Sequence[str] | None = None) -> NewToken:
        """A new token; its secret is in the answer and nowhere else.

        Args:
            name: whose or what for.
            scopes: of `read`, `features`, `submit`, `admin`.
            models: limits it to these models; None: all.
        """
        body = {"name": name, "scopes": list(scopes)} | ({"models": list(models)} if models else {})
        return cast(NewToken, self._transport.post("/v1/tokens", body))

    def get(self, id: str) -> Token:
        return cast(Token, self._transport.get(_path(id)))

    def revoke(self, id: str) -> None:
        """Servers forget a revoked token within 30 s."""
        self._transport.delete(_path(id))

    def list(self) -> Iterator[Token]:
        return self._transport.items("/v1/tokens")


def _path(id: str) -> str:
    return f"/v1/tokens/{quote(id, safe='')}"
