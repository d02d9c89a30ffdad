import hashlib
import os
import time
from typing import Any

import httpx

from control.db.session import unit_of_work
from control.records import objects
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


def test_what_is_damaged_is_named(house: Any, admin: httpx.Client, run: str) -> None:
    checkpoint = admin.get(f"/v1/runs/{run}/checkpoints/last").json()
    before = admin.get("/v1/store").json()
    assert before["damaged"] == []
    assert before["stored"]["count"] >= 2
    with unit_of_work(house.engine) as session:
        objects.report_damage(session, key_of(checkpoint["sha256"]), "other bytes")
    (damaged,) = admin.get("/v1/store").json()["damaged"]
    assert damaged["needed_by"] == [f"checkpoint {checkpoint['id']} of run {run}"]
    assert damaged["detail"] == "other bytes"
    assert admin.get(f"/v1/runs/{run}/checkpoints/last").json()["kept_because"] == ["damaged"]
