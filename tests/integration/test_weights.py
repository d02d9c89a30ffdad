"""Foreign weights all the way, through real processes: brought in, trained on, extended, exported in every format."""

import io
import pickle
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
import torchvision
from torch import Tensor

from tests.integration.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TINY = {
    "train.steps": 3,
    "train.batch_size": 4,
    "train.checkpoint_every": 3,
    "views.global_size": 32,
    "views.local_size": 48,
    "views.patch_size": 16,
    "method.queue_size": 32,
    "data.workers": 0,
    # So small that what comes out is what went in, but for the running statistics.
    "optim.lr": 1e-9,
}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """torchvision's ResNet-18, classifier included, and two files that are something else."""
    folder = tmp_path_factory.mktemp("foreign")
    state: dict[str, Tensor] = torchvision.models.resnet18().state_dict()
    torch.save(state, folder / "resnet18.pth")
    (folder / "text.pth").write_text("these are no weights")
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, foreign: dict[str, Tensor]) -> Path:
    return next(tmp_path_factory.getbasetemp().glob("foreign*"))


def test_foreign_weights_are_trained_on_extended_and_exported(
    service: Service, photos: Path, folder: Path, foreign: dict[str, Tensor]
) -> None:
    # Everything at once: each waits for what it needs.
    service.post("/v1/datasets", {"name": "photos", "kind": "images", "uri": str(photos)})
    good = bring_in(service, folder / "resnet18.pth", name="official")
    bad = [bring_in(service, folder / "text.pth"), bring_in(service, folder / "resnet18.pth", architecture="resnet50")]
    body = {"dataset": "photos", "preset": "smoke", "overrides": TINY, "init": {"weights": "official"}}
    run = service.post("/v1/runs", body)
    assert run["waiting_reason"] in ("weights_checking", "dataset_scanning")

    service.finished(f"/v1/runs/{run['id']}")
    check_import(service.get(f"/v1/weights/{good['id']}"))
    for asked, word in zip(bad, ("text.pth", "resnet50"), strict=True):
        failed = service.finished(f"/v1/weights/{asked['id']}", state="failed")
        assert word in failed["reason"]

    more = {"carry": "all", "overrides": {"train.steps": 5}}
    fork = service.post(f"/v1/runs/{run['id']}/fork", more)
    extended = service.finished(f"/v1/runs/{fork['id']}")
    assert extended["progress"]["step"] == 5
    assert "schedule_extended" in {warning["code"] for warning in extended["warnings"]}
    (started,) = service.get(f"/v1/runs/{fork['id']}/events?type=started")["items"]
    assert started["data"]["resumed_from"] == 3

    service.post("/v1/models/own/versions", {"run": fork["id"]})
    version = service.finished("/v1/models/own/versions/1", state="ready")
    assert set(version["files"]) >= {"manifest", "onnx", "torchvision", "timm", "detectron2", "mmdetection"}
    check_files(service, foreign)


def bring_in(service: Service, file: Path, **more: Any) -> Any:
    return service.post("/v1/weights", {"uri": str(file), "architecture": "resnet18", **more})


def check_import(weights: Any) -> None:
    assert (weights["state"], weights["format"]) == ("ready", "torchvision")
    report = weights["report"]
    assert (report["missing"], sorted(report["unexpected"])) == ([], ["fc.bias", "fc.weight"])
    assert "layer4.1.bn2.running_var" in report["matched"]
    assert weights["digest"].startswith("sha256:")


def check_files(service: Service, foreign: dict[str, Tensor]) -> None:
    def content(format: str) -> io.BytesIO:
        answer = service.request("GET", f"/v1/models/own/versions/1/files/{format}")
        assert answer.status_code == 200, answer.text
        return io.BytesIO(answer.content)

    loaded = {name: torch.load(content(name), weights_only=True) for name in ("torchvision", "timm", "mmdetection")}
    first = {name: state.get("state_dict", state)["conv1.weight"] for name, state in loaded.items()}
    pickled = pickle.load(content("detectron2"))  # noqa: S301 - our own file
    first["detectron2"] = torch.from_numpy(pickled["model"]["stem.conv1.weight"])
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, foreign["conv1.weight"], msg=name)
    session = onnxruntime.InferenceSession(content("onnx").getvalue(), providers=["CPUExecutionProvider"])
    assert {output.name for output in session.get_outputs()} >= {"res2", "res5", "pooled"}
