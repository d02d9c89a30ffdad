"""Exports, versions, files, aliases that are served when they are promoted, and pins."""

import io
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.unit.server.api.pages import walk


def export(client: httpx.Client, name: str, run: str, **more: Any) -> Any:
    answer = client.post(f"/v1/models/{name}/versions", json={"run": run, **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/models/{name}/versions/{answer.json()['version']}"
    return answer.json()


def promote(client: httpx.Client, name: str, version: int, alias: str = "production", **headers: str) -> httpx.Response:
    return client.put(f"/v1/models/{name}/aliases/{alias}", json={"version": version}, headers=headers)


@pytest.fixture(scope="module")
def detector(admin: httpx.Client, house: Any, run: str) -> str:
    """A model with two ready versions of different weights."""
    for seed in (1, 2):
        export(admin, "detector", run)
        house.export(seed)
    return "detector"


def features(client: httpx.Client, model: str) -> httpx.Response:
    image = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(image, "PNG")
    headers = {"Content-Type": "image/png", "Accept": "application/json"}
    return client.post("/features", params={"model": model, "pool": "avg"}, content=image.getvalue(), headers=headers)


class TestExport:
    def test_a_version_has_the_life_of_its_job(self, admin: httpx.Client, house: Any, run: str) -> None:
        made = export(admin, "life", run, license="MIT")
        assert (made["version"], made["state"], made["license"]) == (1, "exporting", "MIT")
        assert made["available_actions"] == ["pause", "cancel", "kill"]
        assert (made["job"]["state"], made["job"]["attempt"]) == ("queued", 0)
        path = "/v1/models/life/versions/1"
        assert admin.get(f"{path}/events").json()["items"][0]["data"]["state"] == "queued"
        house.export()
        ready = admin.get(path).json()
        assert (ready["state"], ready["attempt"]) == ("ready", 1)
        assert ready["manifest"]["levels"][0]["name"] == "res2"
        assert ready["files"].keys() == {"manifest", "onnx"}
        assert ready["weights_digest"] == ready["manifest"]["weights_digest"]
        assert admin.get(f"{path}/attempts").json()["items"][0]["state"] == "completed"

    def test_an_export_can_be_cancelled(self, admin: httpx.Client, run: str) -> None:
        export(admin, "dropped", run)
        answer = admin.post("/v1/models/dropped/versions/1/cancel")
        assert (answer.status_code, answer.json()["state"], answer.json()["job"]["state"]) == (
            200,
            "failed",
            "cancelled",
        )
        assert promote(admin, "dropped", 1).json()["code"] == "not_ready"

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"run": "run_none"}, 404, "not_found"),
            ({"run": "{run}", "checkpoint": "ckpt_none"}, 404, "not_found"),
            ({"run": "{run}", "checkpoint": "best"}, 409, "not_ready"),
            ({"run": "{run}", "formats": []}, 422, "invalid_request"),
            ({"run": "{run}", "formats": ["torchvision"]}, 422, "invalid_request"),
            ({"run": "{run}", "formats": ["onnx", "onnx"]}, 422, "invalid_request"),
            ({"run": "{run}", "formats": ["tflite"]}, 422, "invalid_request"),
            ({}, 422, "invalid_request"),
            ({"weights": "wts_none"}, 404, "not_found"),
            ({"run": "{run}", "weights": "wts_1"}, 422, "invalid_request"),
            ({"weights": "wts_1", "checkpoint": "last"}, 422, "invalid_request"),
            ({"run": "{run}", "input": {"mean": [0.5, 0.5, 0.5]}}, 422, "invalid_request"),
            ({"run": "{run}", "input": {"max_side": 800}}, 422, "invalid_request"),
        ],
    )
    def test_what_cannot_be_exported(
        self, admin: httpx.Client, run: str, body: dict[str, Any], status: int, code: str
    ) -> None:
        sent = body | ({"run": body["run"].replace("{run}", run)} if "run" in body else {})
        answer = admin.post("/v1/models/none/versions", json=sent)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text

    def test_a_run_without_a_checkpoint(self, admin: httpx.Client, house: Any, photos: str) -> None:
        posted = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()
        answer = admin.post("/v1/models/early/versions", json={"run": posted["id"]})
        assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
        admin.post(f"/v1/runs/{posted['id']}/kill")

    def test_a_name_that_is_none(self, admin: httpx.Client, run: str) -> None:
        answer = admin.post("/v1/models/a@b/versions", json={"run": run})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


class TestFiles:
    def test_files_come_with_digest_and_ranges(self, admin: httpx.Client, detector: str) -> None:
        version = admin.get(f"/v1/models/{detector}/versions/1").json()
        whole = admin.get(f"/v1/models/{detector}/versions/1/files/onnx")
        assert whole.status_code == 200
        assert len(whole.content) == version["files"]["onnx"]["bytes"]
        assert whole.headers["etag"] == f'"{version["files"]["onnx"]["sha256"]}"'
        assert whole.headers["content-disposition"] == 'attachment; filename="detector-1-model.onnx"'
        part = admin.get(f"/v1/models/{detector}/versions/1/files/onnx", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole.content[10:20])
        manifest = admin.get(f"/v1/models/{detector}/versions/1/files/manifest").json()
        assert manifest == version["manifest"]

    def test_a_format_that_is_not_there(self, admin: httpx.Client, detector: str) -> None:
        answer = admin.get(f"/v1/models/{detector}/versions/1/files/torchvision")
        assert answer.status_code == 404
        assert "onnx" in answer.json()["detail"]


class TestAliases:
    def test_promote_is_answered_when_it_is_served(self, admin: httpx.Client, house: Any, detector: str) -> None:
        for number in (1, 2, 1):
            answer = promote(admin, detector, number)
            assert (answer.status_code, answer.json()["version"]) == (200, number)
            served = features(admin, detector)
            assert served.status_code == 200, served.text
            assert served.json()["version"] == number
        assert admin.get(f"/v1/models/{detector}").json()["aliases"] == {"production": 1}
        assert admin.get(f"/v1/models/{detector}/versions/1").json()["aliases"] == ["production"]
        moves = admin.get(f"/v1/models/{detector}/aliases/production/history").json()["items"]
        assert [(move["from_version"], move["to_version"]) for move in moves] == [(2, 1), (1, 2), (None, 1)]
        assert "detector@production" in admin.get("/readyz/features").text
        assert 'detco_alias_served{alias="detector@production"} 1.0' in admin.get("/metrics").text

    def test_if_match_guards_a_move(self, admin: httpx.Client, detector: str) -> None:
        first = promote(admin, detector, 1, "guarded", **{"If-Match": '"0"'})
        assert first.status_code == 200
        etag = first.headers["etag"]
        shown = admin.get(f"/v1/models/{detector}/aliases/guarded").headers["etag"]
        assert first.json()["etag"] == etag
        assert shown.startswith(etag.rstrip('"') + "-")
        moved = promote(admin, detector, 2, "guarded", **{"If-Match": shown})
        assert moved.status_code == 200
        stale = promote(admin, detector, 1, "guarded", **{"If-Match": etag})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
        assert promote(admin, detector, 1, "guarded", **{"If-Match": "*"}).status_code == 200
        assert promote(admin, detector, 1, "guarded", **{"If-Match": "odd"}).status_code == 400

    def test_the_same_move_again_changes_nothing(self, admin: httpx.Client, detector: str) -> None:
        first, second = promote(admin, detector, 2, "same"), promote(admin, detector, 2, "same")
        assert first.json() == second.json()
        assert len(admin.get(f"/v1/models/{detector}/aliases/same/history").json()["items"]) == 1

    @pytest.mark.parametrize(
        ("model", "version", "alias", "status"),
        [("none", 1, "production", 404), ("detector", 99, "production", 404), ("detector", 1, "a@b", 422)],
    )
    def test_what_cannot_be_promoted(
        self, admin: httpx.Client, detector: str, model: str, version: int, alias: str, status: int
    ) -> None:
        assert promote(admin, model, version, alias).status_code == status

    def test_a_damaged_bundle_is_not_promoted(self, admin: httpx.Client, house: Any, run: str) -> None:
        export(admin, "damaged", run)
        house.export(seed=77)
        files = admin.get("/v1/models/damaged/versions/1").json()["files"]
        digest = files["onnx"]["sha256"].removeprefix("sha256:")
        stored = house.settings.data_dir / "artifacts" / "sha256" / digest[:2] / digest
        stored.chmod(0o600)
        stored.write_bytes(b"x" * files["onnx"]["bytes"])
        answer = promote(admin, "damaged", 1)
        assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
        assert admin.get("/v1/models/damaged").json()["aliases"] == {}


class TestPins:
    def test_pin_and_let_go(self, admin: httpx.Client, detector: str) -> None:
        path = f"/v1/models/{detector}/versions/2/pins"
        for _ in range(2):
            answer = admin.put(f"{path}/line-3")
            assert (answer.status_code, answer.json()["consumer"]) == (200, "line-3")
        assert [pin["consumer"] for pin in admin.get(path).json()["items"]] == ["line-3"]
        admin.put(f"{path}/line-2")
        assert [pin["consumer"] for pin in walk(admin, path)] == ["line-2", "line-3"]
        assert admin.delete(f"{path}/line-2").status_code == 204
        assert admin.delete(f"{path}/line-3").status_code == 204
        assert admin.delete(f"{path}/line-3").status_code == 404
        assert admin.put(f"/v1/models/{detector}/versions/99/pins/line-3").status_code == 404


def test_lists(admin: httpx.Client, detector: str) -> None:
    assert detector in [model["name"] for model in admin.get("/v1/models").json()["items"]]
    for alias in ("second", "first", "third"):
        assert promote(admin, detector, 1, alias).status_code == 200
    aliases = [alias["alias"] for alias in walk(admin, f"/v1/models/{detector}/aliases", 2)]
    assert aliases == sorted(aliases)
    assert {"first", "second", "third"} <= set(aliases)
    versions = admin.get(f"/v1/models/{detector}/versions").json()["items"]
    assert [version["version"] for version in versions] == [2, 1]
    for path in (
        "/v1/models/none",
        "/v1/models/none/versions",
        "/v1/models/none/aliases",
        "/v1/models/none/versions/1",
    ):
        assert admin.get(path).status_code == 404
