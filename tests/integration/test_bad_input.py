"""What people send by mistake: a clear problem document, and a service that is still up."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def ready(service: Service, photos: Path) -> Service:
    service.add_dataset("photos", photos)
    return service


@pytest.fixture(autouse=True)
def _still_up(ready: Service) -> Any:
    yield
    assert ready.request("GET", "/readyz").status_code == 200


def problem(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    document = answer.json()
    assert {"title", "status", "detail", "code", "request_id"} <= set(document)
    return document


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"train.stepz": 3}, "train.stepz"),
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"train.steps": "many"}, "train.steps"),
        ({"method.queue_size": 100}, "method.queue_size"),
        ({"views.patch_size": 64}, "views.patch_size"),
    ],
)
def test_a_wrong_config_key_is_named(ready: Service, overrides: dict[str, Any], named: str) -> None:
    body = {"dataset": "photos", "preset": "smoke", "overrides": overrides}
    document = problem(ready.request("POST", "/v1/runs", json=body), 422)
    assert named in str(document["errors"])


def test_an_unknown_preset_lists_the_presets(ready: Service) -> None:
    document = problem(ready.request("POST", "/v1/runs", json={"dataset": "photos", "preset": "detco_r99"}), 422)
    assert "detco_r50" in str(document)


def test_a_folder_outside_the_roots(ready: Service) -> None:
    for uri in ("/etc", "file:///etc", "/etc/../etc"):
        body = {"name": "secrets", "kind": "images", "uri": uri}
        answer = ready.request("POST", "/v1/datasets", json=body)
        document = problem(answer, answer.status_code)
        assert answer.status_code in (403, 422)
        assert "DETCO_DATASET_ROOTS" in document["detail"]


def test_a_link_out_of_the_roots(ready: Service, tmp_path: Path) -> None:
    (tmp_path / "way_out").symlink_to("/etc")
    answer = ready.request(
        "POST", "/v1/datasets", json={"name": "linked", "kind": "images", "uri": str(tmp_path / "way_out")}
    )
    assert answer.status_code in (403, 422)


def test_an_unknown_dataset(ready: Service) -> None:
    document = problem(ready.request("POST", "/v1/runs", json={"dataset": "nowhere", "preset": "smoke"}), 404)
    assert "nowhere" in document["detail"]


def test_no_token_and_a_wrong_token(ready: Service) -> None:
    for header in ({"Authorization": ""}, {"Authorization": "Bearer detco_nonsense"}):
        problem(ready.request("GET", "/v1/runs", headers=header), 401)


def test_text_as_json_and_text_as_image(ready: Service) -> None:
    problem(ready.request("POST", "/v1/runs", content=b"{not json", headers={"Content-Type": "application/json"}), 422)
    answer = ready.request("POST", "/features?model=none", content=b"hello", headers={"Content-Type": "text/plain"})
    problem(answer, answer.status_code)
    assert 400 <= answer.status_code < 500


def test_an_oversized_body(ready: Service) -> None:
    problem(ready.request("POST", "/v1/runs", content=b" " * (80 << 20)), 413)


def test_unknown_paths_and_methods(ready: Service) -> None:
    problem(ready.request("GET", "/v1/nothing"), 404)
    problem(ready.request("DELETE", "/v1/info"), 405)


def test_a_folder_with_broken_files(service: Service, tmp_path: Path) -> None:
    from detco_core.data.synthetic import broken_files, write_photos

    write_photos(tmp_path / "mixed", 20)
    broken_files(tmp_path / "mixed")
    dataset = service.add_dataset("mixed", tmp_path / "mixed")
    assert dataset["state"] == "ready"
    version = service.get("/v1/datasets/mixed/versions/1")
    assert version["broken"]
    assert all(item["path"] and item["reason"] for item in version["broken"])
    submitted = service.post(
        "/v1/runs",
        {"dataset": "mixed", "preset": "smoke", "overrides": {"train.steps": 2, "data.workers": 0}},
    )
    service.finished(f"/v1/runs/{submitted['id']}")
