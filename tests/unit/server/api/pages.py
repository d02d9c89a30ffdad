"""A list read page by page, as a client does."""

from typing import Any

import httpx


def walk(client: httpx.Client, path: str, size: int = 1, **more: Any) -> list[Any]:
    """Every item of a list; each page but the last is full, and no page is empty."""
    seen: list[Any] = []
    token: dict[str, Any] = {}
    while True:
        page = client.get(path, params={"page_size": size} | more | token).json()
        seen += page["items"]
        assert 0 < len(page["items"]) <= size
        if page["next_page_token"] is None:
            return seen
        assert len(page["items"]) == size
        token = {"page_token": page["next_page_token"]}
