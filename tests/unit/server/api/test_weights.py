"""Weights over HTTP: brought in, shown, used as a source, deleted."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from detco_core.contract.manifest import EXPORT_FORMATS


@pytest.fixture
def file(house: Any) -> Path:
    path: Path = house.root / "official.pth"
    path.write_bytes(b"tensors of somebody else")
    return path


def add(client: httpx.Client, file: Path, expect: int = 202, **body: Any) -> Any:
    answer = client.post("/v1/weights", json={"uri": str(file), "architecture": "resnet18"} | body)
    assert answer.status_code == expect, answer.text
    return answer.json()


def test_weights_are_checked_then_ready(admin: httpx.Client, house: Any, file: Path) -> None:
    body = {"uri": f"file://{file}", "architecture": "resnet18", "name": "official", "license": "MIT"}
    answer = admin.post("/v1/weights", json=body)
    made = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/weights/{made['id']}")
    assert (made["state"], made["format"], made["digest"], made["report"], made["file"]) == ("checking", *[None] * 4)
    assert admin.get(f"/v1/runs/{made['job']}").json()["kind"] == "import"
    house.bring_in()
    ready = admin.get("/v1/weights/official").json()
    assert (ready["id"], ready["state"], ready["format"]) == (made["id"], "ready", "torchvision")
    assert ready["digest"] == "sha256:" + "d" * 64
    assert ready["file"]["bytes"] == len(b"tensors")
    assert ready["report"] == {"matched": ["conv1.weight"], "missing": [], "unexpected": ["fc.weight"]}
    assert admin.get("/v1/weights").json()["items"][0] == ready
    kept = admin.get(f"/v1/runs/{made['job']}/artifacts/weights.pth")
    assert kept.content == b"tensors"


def test_a_file_that_is_refused_says_why(admin: httpx.Client, house: Any, file: Path) -> None:
    made = add(admin, file)
    taken = house.claim("cpu")
    house.close(taken, "failed", error_kind="user", message="official.pth is not a resnet18")
    failed = admin.get(f"/v1/weights/{made['id']}").json()
    assert (failed["state"], failed["reason"]) == ("failed", "official.pth is not a resnet18")
    init = {"dataset": "none", "preset": "smoke", "init": {"weights": made["id"]}}
    assert admin.post("/v1/runs", json=init).status_code in (404, 409)


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({"uri": "/etc/passwd"}, "forbidden_root", "outside"),
        ({"uri": "upload:upl_1"}, "invalid_request", "there is no upload"),
        ({"uri": "s3://bucket/w.pth"}, "forbidden_root", "outside"),
        ({"uri": "{root}/nothing.pth"}, "invalid_request", "not a file"),
        ({"uri": "{root}"}, "invalid_request", "not a file"),
        ({"format": "tarot"}, "invalid_request", "format"),
        ({"name": "random"}, "invalid_request", "random"),
        ({"name": "a b"}, "invalid_request", "name"),
        ({"architecture": ""}, "invalid_request", "architecture"),
        ({"arch": "resnet18"}, "invalid_request", "arch"),
    ],
)
def test_what_cannot_be_brought_in(
    admin: httpx.Client, house: Any, file: Path, body: dict[str, Any], code: str, word: str
) -> None:
    if "uri" in body:
        body = body | {"uri": body["uri"].replace("{root}", str(house.root))}
    problem = add(admin, file, 422, **body)
    assert problem["code"] == code
    assert word in str(problem)


def test_weights_are_evaluated_and_exported(admin: httpx.Client, house: Any, file: Path) -> None:
    made = add(admin, file)
    version = admin.post("/v1/models/foreign/versions", json={"weights": made["id"]}).json()
    assert (version["state"], version["job"]["waiting_reason"]) == ("exporting", "weights_checking")
    assert version["formats"] == list(EXPORT_FORMATS)
    house.bring_in()
    house.export()
    ready = admin.get("/v1/models/foreign/versions/1").json()
    assert (ready["state"], ready["source"]) == ("ready", {"weights": made["id"]})
    gone = admin.delete(f"/v1/weights/{made['id']}").json()
    assert gone["derived"] == ["model version foreign:1"]


def test_weights_for_other_pixels_are_exported_with_how_to_prepare_them(
    admin: httpx.Client, house: Any, file: Path
) -> None:
    made = add(admin, file, name="depth", channels=1)
    house.bring_in()
    body: dict[str, Any] = {"weights": made["id"]}
    problem = admin.post("/v1/models/depth/versions", json=body).json()
    assert (problem["status"], problem["errors"][0]["path"]) == (422, "input")
    assert "depth takes images of 1 channel," in problem["detail"]
    wrong = body | {"input": {"mean": [0.5, 0.5], "std": [0.25], "sharpness": 1}}
    problem = admin.post("/v1/models/depth/versions", json=wrong).json()
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, "#/input/sharpness")
    other = body | {"input": {"channels": 3, "color": "rgb", "mean": [0.5] * 3, "std": [0.25] * 3}}
    problem = admin.post("/v1/models/depth/versions", json=other).json()
    assert "imported for 1" in problem["detail"]
    right = body | {"input": {"mean": [0.5], "std": [0.25], "bit_depth": 16}}
    version = admin.post("/v1/models/depth/versions", json=right)
    assert version.status_code == 202, version.text
    house.export()
    assert admin.get("/v1/models/depth/versions/1").json()["state"] == "ready"


def test_deleting_is_refused_while_a_job_needs_them(admin: httpx.Client, house: Any, file: Path) -> None:
    made = add(admin, file)
    refused = admin.delete(f"/v1/weights/{made['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert refused.json()["holders"] == [f"import {made['job']}"]
    house.bring_in(b"tensors of their own")
    planned = admin.delete(f"/v1/weights/{made['id']}?dry_run=true").json()
    assert planned == {"id": made["id"], "dry_run": True, "derived": [], "bytes": len(b"tensors of their own")}
    ready = admin.get(f"/v1/weights/{made['id']}").json()
    key = f"sha256/{ready['file']['sha256'][7:9]}/{ready['file']['sha256'][7:]}"
    assert house.store.exists(key)
    assert admin.delete(f"/v1/weights/{made['id']}").json() == planned | {"dry_run": False}
    house.clean()
    assert not house.store.exists(key)
    assert admin.get(f"/v1/weights/{made['id']}").status_code == 404
    assert admin.delete(f"/v1/weights/{made['id']}").json() == planned | {"dry_run": False}
    assert admin.delete("/v1/weights/wts_never").status_code == 404


def test_scopes(house: Any, file: Path) -> None:
    reader = house.client("read")
    add(reader, file, 403)
    assert reader.get("/v1/weights").status_code == 200
    assert reader.delete("/v1/weights/x").status_code == 403
    assert house.client("features").get("/v1/weights").status_code == 403
