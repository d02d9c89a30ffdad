import hashlib
import os
import time
from typing import Any

import httpx
import pytest

from control.storage.base import key_of


def test_orphans_are_shown_and_swept(house: Any, admin: httpx.Client) -> None:
    orphan = house.root / "orphan"
    orphan.write_bytes(b"nobody's")
    digest = hashlib.sha256(b"nobody's").hexdigest()
    house.store.put(orphan, digest)
    stored = house.store.folder / key_of(digest)
    assert admin.post("/v1/store/sweep").json()["count"] == 0  # somebody may be about to register it
    old = time.time() - 30 * 3600
    os.utime(stored, (old, old))
    tried = admin.post("/v1/store/sweep?dry_run=true").json()
    assert tried == {"dry_run": True, "older_than_hours": 24.0, "count": 1, "bytes": 8}
    assert admin.post("/v1/store/sweep").json() == tried | {"dry_run": False}
    assert not stored.exists()
    assert house.client("submit").post("/v1/store/sweep").status_code == 403


@pytest.mark.parametrize(("how", "code"), [("changed", "digest_mismatch"), ("lost", "artifact_missing")])
def test_what_is_damaged_is_named_and_never_served(
    house: Any, admin: httpx.Client, run: str, how: str, code: str
) -> None:
    checkpoint = admin.get(f"/v1/runs/{run}/checkpoints/last").json()
    path = f"/v1/runs/{run}/checkpoints/{checkpoint['id']}"
    before = admin.get("/v1/store").json()
    assert before["damaged"] == []
    assert before["stored"]["count"] >= 2
    assert admin.get(f"{path}/file").content == b"weights"
    stored = house.store.folder / key_of(checkpoint["sha256"])
    stored.unlink() if how == "lost" else stored.write_bytes(b"weighty")
    for headers in ({}, {"Range": "bytes=3-"}):
        refused = admin.get(f"{path}/file", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (410, code)
    (damaged,) = admin.get("/v1/store").json()["damaged"]
    assert damaged["needed_by"] == [f"checkpoint {checkpoint['id']} of run {run}"]
    assert admin.get(path).json()["kept_because"] == ["damaged"]
    assert "detco_store_damaged 1.0" in admin.get("/metrics").text
    assert admin.get("/readyz/api").json()["checks"]["artifacts"] == {
        "ok": True,
        "detail": "1 lost or damaged: GET /v1/store names them",
    }
    stored.write_bytes(b"weights")
    admin.post("/v1/store/sweep")
    assert admin.get("/v1/store").json()["damaged"] == []
    assert admin.get(f"{path}/file").content == b"weights"
