"""Who may ask what: every route against every scope, and what a bad token gets."""

from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

OPEN = {"/livez", "/readyz", "/readyz/api", "/readyz/features", "/metrics", "/v2/health/live", "/v2/health/ready"}
SCOPE_OF = {
    "GET": "read",
    "POST": "submit",
    "PUT": "submit",
    "PATCH": "submit",
    "DELETE": "submit",
}


def scope_of(method: str, path: str) -> str | None:
    """The scope a route asks for, by its place in the interface; None: any token."""
    if path == "/v1/info":
        return None
    if path.startswith("/v2/repository/models"):
        return "admin"
    if path.endswith("/features") or path.startswith("/v2"):
        return "features"
    if path.startswith(("/v1/tokens", "/v1/audit", "/v1/webhooks", "/v1/store")) or path.endswith("drain"):
        return "admin"
    return SCOPE_OF[method]


def operations(client: httpx.Client) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def filled(path: str) -> str:
    """The path with something nobody has in every place."""
    for name in ("job", "name", "checkpoint", "format", "alias", "consumer", "token", "webhook", "delivery"):
        path = path.replace("{" + name + "}", "nothing")
    return path.replace("{number}", "1")


@pytest.mark.parametrize("scope", ["read", "features", "submit"])
def test_every_route_asks_for_its_scope(house: Any, scope: str) -> None:
    client = house.client(scope)
    for method, path in operations(client):
        if path in OPEN:
            continue
        answer = client.request(method, filled(path))
        allowed = scope_of(method, path) in (None, scope)
        assert (answer.status_code == 403) is not allowed, f"{method} {path}: {answer.status_code}"
        if not allowed:
            assert "error" in answer.json() or answer.json()["code"] == "forbidden"


def test_admin_may_do_everything(house: Any, admin: httpx.Client) -> None:
    for method, path in operations(admin):
        assert admin.request(method, filled(path)).status_code not in (401, 403), f"{method} {path}"


@pytest.mark.parametrize("secret", ["", "detco_wrong", "x" * 5000, "dé"])
def test_no_token_is_401_everywhere_but_health(house: Any, secret: str) -> None:
    client = house.bare()
    headers = {"Authorization": f"Bearer {secret}".encode("latin-1")} if secret else {}
    for method, path in operations(client):
        answer = client.request(method, filled(path), headers=headers)
        if path in OPEN:
            assert answer.status_code in (200, 503)
            continue
        # The address has shown too many unknown tokens by now, or not yet.
        slowed = 503 if path.startswith("/v2") else 429
        assert answer.status_code in (401, slowed), f"{method} {path}: {answer.status_code}"
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_limited_to_models(house: Any) -> None:
    client = house.client("submit", "read", models=["mine"])
    body = {"run": "run_none"}
    assert client.post("/v1/models/mine/versions", json=body).status_code == 404
    assert client.post("/v1/models/other/versions", json=body).status_code == 403
    assert client.put("/v1/models/other/aliases/production", json={"version": 1}).status_code == 403
    assert client.get("/v1/models/other/versions/1/files/onnx").status_code == 403


class TestTokens:
    def test_made_used_listed_revoked(self, house: Any, admin: httpx.Client) -> None:
        answer = admin.post("/v1/tokens", json={"name": "ci", "scopes": ["read", "submit"], "models": ["m"]})
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        made = answer.json()
        assert answer.headers["location"] == f"/v1/tokens/{made['id']}"
        assert house.bare(made["token"]).get("/v1/runs").status_code == 200
        shown = admin.get(f"/v1/tokens/{made['id']}").json()
        assert (shown["name"], shown["scopes"], shown["models"]) == ("ci", ["read", "submit"], ["m"])
        listed = admin.get("/v1/tokens")
        assert made["id"] in [token["id"] for token in listed.json()["items"]]
        assert made["token"] not in listed.text
        for _ in range(2):
            assert admin.delete(f"/v1/tokens/{made['id']}").status_code == 204
        assert admin.get(f"/v1/tokens/{made['id']}").json()["revoked_at"]

    def test_rotated_with_grace_and_without(self, house: Any, admin: httpx.Client) -> None:
        old = admin.post("/v1/tokens", json={"name": "camera", "scopes": ["read"]}).json()
        answer = admin.post(f"/v1/tokens/{old['id']}/rotate", json={})
        assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
        new = answer.json()
        assert (new["replaces"], new["scopes"], new["expires_at"]) == (old["id"], ["read"], None)
        for secret in (old["token"], new["token"]):
            assert house.bare(secret).get("/v1/runs").status_code == 200
        last = admin.post(f"/v1/tokens/{new['id']}/rotate", json={"grace_seconds": 0}).json()
        assert house.bare(last["token"]).get("/v1/runs").status_code == 200
        refused = admin.post(f"/v1/tokens/{new['id']}/rotate", json={})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        said = admin.get("/v1/audit", params={"action": "token.rotate"})
        assert [entry["target"] for entry in said.json()["items"]] == [last["id"], new["id"]]
        assert last["token"] not in said.text

    def test_listed_page_by_page(self, admin: httpx.Client) -> None:
        for n in range(3):
            admin.post("/v1/tokens", json={"name": f"paged-{n}", "scopes": ["read"]})
        first = admin.get("/v1/tokens?page_size=2").json()
        second = admin.get("/v1/tokens", params={"page_size": 2, "page_token": first["next_page_token"]}).json()
        assert [token["name"] for token in first["items"] + second["items"]][:3] == ["paged-2", "paged-1", "paged-0"]
        other = admin.get("/v1/audit", params={"page_token": first["next_page_token"]})
        assert (other.status_code, other.json()["errors"][0]["path"]) == (422, "page_token")

    def test_an_admin_limited_to_models_makes_nothing_wider(self, house: Any) -> None:
        limited = house.client("admin", models=["m"])
        assert limited.post("/v1/tokens", json={"name": "x", "scopes": ["admin"]}).status_code == 403
        assert limited.post("/v1/tokens", json={"name": "x", "scopes": ["read"], "models": ["n"]}).status_code == 403
        assert limited.post("/v1/tokens", json={"name": "x", "scopes": ["read"], "models": ["m"]}).status_code == 201

    @pytest.mark.parametrize(
        "body",
        [
            {"name": "x", "scopes": []},
            {"name": "x", "scopes": ["root"]},
            {"scopes": ["read"]},
            {"name": "x", "scopes": ["read"], "expires_in_seconds": 0},
            {"name": "x", "scopes": ["read"], "models": ["a/b"]},
        ],
    )
    def test_bad_ones_are_refused(self, admin: httpx.Client, body: dict[str, Any]) -> None:
        assert admin.post("/v1/tokens", json=body).status_code == 422

    def test_unknown_ones_are_not_found(self, admin: httpx.Client) -> None:
        assert admin.get("/v1/tokens/tok_none").status_code == 404
        assert admin.delete("/v1/tokens/tok_none").status_code == 404


def test_routes_are_api_routes() -> None:
    """The scope test reads the OpenAPI document; a route left out of it would escape."""
    from server.api import features, health, runs

    for module in (features, health, runs):
        for route in module.router.routes:
            assert isinstance(route, APIRoute)
            assert route.include_in_schema
