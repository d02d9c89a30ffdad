"""Extractions: planned and bounded before they begin, their files by name, and what they hold."""

import json
from typing import Any

import httpx
import pytest

from detco_core.contract import events

PLAN = "/v1/extractions?dry_run=true"


@pytest.fixture(scope="module", autouse=True)
def model(house: Any, admin: httpx.Client, run: str) -> str:
    """`m:1`, ready and promoted."""
    assert admin.post("/v1/models/m/versions", json={"run": run, "checkpoint": "last"}).status_code == 202
    house.export()
    assert admin.put("/v1/models/m/aliases/production", json={"version": 1}).status_code == 200
    return "m"


def body(photos: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "dataset": photos, "levels": ["res5"], **more}


def done(house: Any, admin: httpx.Client, photos: str, **more: Any) -> str:
    """An extraction whose shard and index are stored."""
    answer = admin.post("/v1/extractions", json=body(photos, **more))
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/extractions/{made['id']}"
    taken = house.claim("cpu")
    assert taken.run_id == made["id"]
    saved = []
    for name in ("00000.safetensors", "00000.jsonl", "index.json"):
        path = house.root / name
        path.write_text(name + made["id"])
        kept = house.keep(path, name)
        saved.append(events.ArtifactSaved(name=f"features/{name}", path=name, bytes=kept.bytes, sha256=kept.sha256))
    index = {"path": "index.json", "bytes": saved[2].bytes, "sha256": saved[2].sha256}
    report = {
        "images": 20,
        "broken": 1,
        "broken_images": [{"path": "a.png", "reason": "torn"}],
        "shards": 1,
        "bytes": 9,
    }
    report |= {"index": index, "weights_digest": "sha256:0", "dataset": "photos@1", "dataset_digest": None}
    report |= {"provider": "CPUExecutionProvider"}
    house.say(taken, *saved, events.Reported(report=report), events.Finished())
    house.close(taken)
    return str(made["id"])


def test_a_plan_has_the_bytes_and_everything_resolved(admin: httpx.Client, photos: str) -> None:
    plan = admin.post(PLAN, json=body(photos, levels=None, pool="avg")).json()
    assert (plan["model"], plan["dataset"], plan["levels"], plan["fits"]) == ("m:1", "photos@1", ["res5"], True)
    assert plan["estimate"]["bytes"] == 20 * 10 * 4
    assert plan["options"]["resize"] is None
    assert set(plan["licenses"]) == {"data set photos@1", "model m:1"}
    sized = admin.post(PLAN, json=body(photos, resize={"height": 64, "width": 96}, dtype="float16")).json()
    assert sized["estimate"]["bytes"] == 20 * 10 * 2 * 3 * 2
    assert admin.get("/v1/extractions").json()["items"] == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"levels": ["p2"]}, "unknown level 'p2'; this model has res2, res3, res4, res5"),
        ({"levels": []}, "must name at least one level"),
        ({"split": "val"}, "photos@1 has no split 'val'"),
        ({"roi_size": 7}, "give boxes_from"),
        ({"format": "parquet"}, "parquet holds vectors"),
        ({"resize": {"short_side": 10, "longest": 3}}, "longest"),
        ({"boxes_from": "/etc/passwd"}, "outside the folders data may lie in"),
        ({"boxes_from": "upload:none"}, "there is no upload"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_is_422_and_said(admin: httpx.Client, photos: str, more: dict[str, Any], said: str) -> None:
    for path in (PLAN, "/v1/extractions"):
        answer = admin.post(path, json=body(photos, **more))
        assert answer.status_code == 422, answer.text
        assert said in answer.text


@pytest.mark.parametrize(
    ("more", "status"), [({"model": "none"}, 404), ({"model": "m:2"}, 404), ({"dataset": "none"}, 404)]
)
def test_what_is_not_there_is_404(admin: httpx.Client, photos: str, more: dict[str, Any], status: int) -> None:
    assert admin.post("/v1/extractions", json=body(photos, **more)).status_code == status


def test_more_than_is_allowed_is_refused_with_estimate_and_remedy(admin: httpx.Client, photos: str) -> None:
    huge = body(photos, levels=["res2", "res3", "res4"], resize={"height": 65_536, "width": 65_536})
    plan = admin.post(PLAN, json=huge).json()
    assert plan["fits"] is False
    refused = admin.post("/v1/extractions", json=huge)
    assert refused.status_code == 422
    assert f"about {plan['estimate']['bytes']} bytes" in refused.json()["detail"]
    assert "pool them" in refused.json()["detail"]


def test_boxes_are_counted(admin: httpx.Client, house: Any, photos: str) -> None:
    path = house.root / "boxes.json"
    path.write_text(json.dumps({"000.png": [[0, 0, 9, 9], [1, 1, 5, 5]], "001.png": [[2, 2, 8, 8]]}))
    plan = admin.post(PLAN, json=body(photos, boxes_from=str(path), roi_size=2)).json()
    assert (plan["estimate"]["boxes"], plan["estimate"]["bytes"]) == (3, 3 * 10 * 2 * 2 * 4)
    assert plan["boxes_from"] == str(path)


def test_files_come_by_name_and_by_range(admin: httpx.Client, house: Any, photos: str) -> None:
    job = done(house, admin, photos)
    shown = admin.get(f"/v1/extractions/{job}").json()
    assert (shown["state"], shown["kind"], shown["report"]["broken"]) == ("completed", "extract", 1)
    files = admin.get(f"/v1/extractions/{job}/files").json()["items"]
    assert [file["path"] for file in files] == ["00000.jsonl", "00000.safetensors", "index.json"]
    path = f"/v1/extractions/{job}/files/00000.safetensors"
    assert admin.get(path).text == "00000.safetensors" + job
    part = admin.get(path, headers={"Range": "bytes=6-8"})
    assert (part.status_code, part.text) == (206, "saf")
    assert admin.get(f"/v1/extractions/{job}/files/none").status_code == 404
    assert admin.get(f"/v1/runs/{job}").json()["kind"] == "extract"
    assert admin.get(f"/v1/extractions/{job}/events").json()["items"]
    assert admin.get("/v1/extractions?state=completed").json()["items"]


def test_a_token_of_other_models_gets_neither_job_nor_files(admin: httpx.Client, house: Any, photos: str) -> None:
    job = done(house, admin, photos)
    other = house.client("read", "submit", models=["other"])
    assert other.post("/v1/extractions", json=body(photos)).status_code == 403
    assert other.get(f"/v1/extractions/{job}/files/index.json").status_code == 403
    assert house.client("read").post("/v1/extractions", json=body(photos)).status_code == 403


def test_it_is_cancelled_deleted_and_named_by_its_data_set(admin: httpx.Client, house: Any, photos: str) -> None:
    waiting = admin.post("/v1/extractions", json=body(photos)).json()["id"]
    held = admin.delete("/v1/models/m/versions/1?dry_run=true")
    assert waiting in held.text
    assert "finish" not in admin.get(f"/v1/extractions/{waiting}").json()["available_actions"]
    assert admin.delete(f"/v1/extractions/{waiting}").status_code == 409
    assert admin.post(f"/v1/extractions/{waiting}/cancel").json()["state"] == "cancelled"
    job = done(house, admin, photos)
    usage = admin.get(f"/v1/datasets/{photos}/usage").json()
    assert job in json.dumps(usage["extractions"])
    would = admin.delete(f"/v1/extractions/{job}?dry_run=true").json()
    assert would["bytes"] > 0
    assert admin.delete(f"/v1/extractions/{job}").status_code == 200
    assert admin.get(f"/v1/extractions/{job}").status_code == 404
