"""The main job, through real processes: photos, pretraining, evaluation, export, promotion, features."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tests.integration.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from detco_core.data.synthetic import write_labelled

    folder = tmp_path_factory.mktemp("data") / "labelled"
    write_labelled(folder, classes=3, per_class=6)
    return folder


@pytest.fixture(scope="module")
def run(service: Service, photos: Path) -> Any:
    dataset = service.add_dataset("photos", photos)
    assert dataset["state"] == "ready", dataset
    body = {"dataset": "photos", "preset": "smoke", "name": "first", "overrides": {"data.workers": 0}}
    submitted = service.post("/v1/runs", body)
    return service.finished(f"/v1/runs/{submitted['id']}")


@pytest.fixture(scope="module")
def version(service: Service, run: Any) -> Any:
    service.post("/v1/models/detector/versions", {"run": run["id"], "checkpoint": "last"})
    ready = service.finished("/v1/models/detector/versions/1", state="ready")
    answer = service.request("PUT", "/v1/models/detector/aliases/production", json={"version": 1})
    assert answer.status_code == 200, answer.text
    return ready


def test_a_run_tells_its_story(service: Service, run: Any) -> None:
    assert run["progress"]["step"] == run["progress"]["steps"] == 20
    assert run["attempt"] == 1
    assert run["dataset"] == "photos@1"
    assert run["environment"]["torch"] == torch.__version__
    terms = {f"loss/{term}/{stage}" for term in ("g2g", "l2l", "l2g") for stage in ("res2", "res3", "res4", "res5")}
    assert terms <= set(run["metrics"])
    steps = [point["step"] for point in service.get(f"/v1/runs/{run['id']}/metrics?key=loss")["items"]]
    assert steps == list(range(1, 21))
    checkpoints = service.get(f"/v1/runs/{run['id']}/checkpoints")["items"]
    assert {checkpoint["step"] for checkpoint in checkpoints} >= {20}
    assert "step" in service.request("GET", f"/v1/runs/{run['id']}/logs").text


def test_events_replay_and_end(service: Service, run: Any) -> None:
    answer = service.request("GET", f"/v1/runs/{run['id']}/events", headers={"Accept": "text/event-stream"})
    lines = answer.text.splitlines()
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    assert names[-1] == "end"
    assert ids == sorted(ids)
    assert "checkpoint" in names
    later = service.request(
        "GET",
        f"/v1/runs/{run['id']}/events",
        headers={"Accept": "text/event-stream", "Last-Event-ID": str(ids[len(ids) // 2])},
    )
    later_ids = [int(line.removeprefix("id: ")) for line in later.text.splitlines() if line.startswith("id: ")]
    assert later_ids == ids[len(ids) // 2 + 1 :]


@pytest.mark.parametrize("source", ["run", "random"])
def test_knn_through_the_job_path(service: Service, run: Any, labelled: Path, source: str) -> None:
    if service.request("GET", "/v1/datasets/labelled").status_code == 404:
        service.add_dataset("labelled", labelled, "labelled")
    where = {"run": run["id"], "checkpoint": "last"} if source == "run" else {"weights": "random"}
    options = {"image_size": 64, "k": 5, "workers": 0}
    submitted = service.post(
        "/v1/evaluations", {"task": "knn", "source": where, "dataset": "labelled", "options": options}
    )
    report = service.finished(f"/v1/evaluations/{submitted['id']}")["report"]
    assert report["task"] == "knn"
    assert 0 <= report["scores"]["top1"] <= 100


def test_features_equal_torch(service: Service, version: Any, photos: Path, tmp_path: Path) -> None:
    assert version["manifest"]["architecture"] == "resnet18"
    weights = service.request("GET", "/v1/models/detector/versions/1/files/torchvision")
    (tmp_path / "weights.pth").write_bytes(weights.content)
    network = torchvision.models.resnet18()
    state = torch.load(tmp_path / "weights.pth", weights_only=True)
    missing = network.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert set(missing.missing_keys) == {"fc.weight", "fc.bias"}
    picture = sorted(photos.iterdir())[0]
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    spec = version["manifest"]["input"]
    normal = (pixels - np.float32(spec["mean"])) / np.float32(spec["std"])
    expected = res5(network.eval(), torch.from_numpy(normal.transpose(2, 0, 1))[None])
    body = {"content": picture.read_bytes(), "headers": {"Content-Type": "image/jpeg"}}
    answer = service.request("POST", "/features?levels=res3,res5&resize=none", **body)
    assert answer.status_code == 200, answer.text
    tensors = read_tensors(answer.content, int(answer.headers["Inference-Header-Content-Length"]))
    assert set(tensors) == {"res3", "res5"}
    tolerance = version["manifest"]["parity"]["onnx"]["tolerance"]
    assert tolerance <= 1e-3
    np.testing.assert_allclose(tensors["res5"], expected, rtol=0, atol=tolerance * float(np.abs(expected).max()))


def res5(network: torchvision.models.ResNet, pixels: torch.Tensor) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        x = network.maxpool(network.relu(network.bn1(network.conv1(pixels))))
        x = network.layer4(network.layer3(network.layer2(network.layer1(x))))
    result: np.ndarray[Any, Any] = x.numpy()
    return result


def read_tensors(body: bytes, header: int) -> dict[str, np.ndarray[Any, Any]]:
    """The octet-stream layout, read by hand."""
    types = {"FP32": np.float32, "FP16": np.float16}
    tensors, at = {}, header
    for output in json.loads(body[:header])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        tensors[output["name"]] = np.frombuffer(body[at : at + size], types[output["datatype"]]).reshape(
            output["shape"]
        )
        at += size
    assert at == len(body)
    return tensors


@pytest.mark.parametrize("accept", ["application/x-npz", "application/json"])
def test_other_formats_hold_the_same_numbers(service: Service, version: Any, photos: Path, accept: str) -> None:
    assert version["state"] == "ready"
    content = sorted(photos.iterdir())[1].read_bytes()
    headers = {"Content-Type": "image/jpeg"}
    raw = service.request("POST", "/features?levels=res4&pool=avg", content=content, headers=headers)
    expected = read_tensors(raw.content, int(raw.headers["Inference-Header-Content-Length"]))["res4"]
    answer = service.request(
        "POST", "/features?levels=res4&pool=avg", content=content, headers=headers | {"Accept": accept}
    )
    assert answer.status_code == 200, answer.text
    if accept == "application/x-npz":
        with np.load(io.BytesIO(answer.content), allow_pickle=False) as archive:
            found = archive["res4"]
    else:
        output = answer.json()["outputs"][0]
        found = np.asarray(output["data"], np.float32).reshape(output["shape"])
    np.testing.assert_array_equal(found, expected)


def test_one_broken_image_fails_alone(service: Service, version: Any, photos: Path) -> None:
    assert version["state"] == "ready"
    good = [path.read_bytes() for path in sorted(photos.iterdir())[:2]]
    parts = [("image", ("a.jpg", good[0])), ("image", ("b.jpg", b"no picture")), ("image", ("c.jpg", good[1]))]
    files = [(name, (file, data, "image/jpeg")) for name, (file, data) in parts]
    answer = service.request("POST", "/features?levels=res5&pool=avg", files=files)
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["Inference-Header-Content-Length"])
    assert set(read_tensors(answer.content, length)) == {"0/res5", "2/res5"}
    images = json.loads(answer.content[:length])["images"]
    assert ["error" in image and image["error"] is not None for image in images] == [False, True, False]
    assert service.request("GET", "/readyz").status_code == 200
