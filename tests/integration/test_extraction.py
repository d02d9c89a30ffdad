"""A bulk extraction through real processes: killed in the middle, taken up again, and equal to `/features`."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from control.db.models import Model, ModelVersion
from control.db.session import open_engine, unit_of_work
from control.records.store import objects
from control.settings import load_settings
from control.storage.base import file_digest
from control.storage.open import open_store
from detco_client import DetcoClient
from detco_core.contract.reader import plain
from detco_core.inference.tiny import write_tiny_bundle
from tests.integration.service import Service
from tests.processes import kill, words_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IMAGES = 20


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small: there is a middle to kill the job in, since it waits for the store every four shards."""
    folder = tmp_path_factory.mktemp("pictures")
    for n in range(IMAGES):
        pixels = np.random.default_rng(n).integers(0, 256, (60 + n, 96, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{n:02}.png")
    return folder


def put_model(service: Service, folder: Path) -> None:
    """A tiny model as an export would have left it, which takes torch and a minute."""
    manifest = write_tiny_bundle(folder)
    settings = load_settings(data_dir=service.folder)
    engine, store = open_engine(settings.resolved_database_url), open_store(settings)
    files = {}
    with unit_of_work(engine) as session:
        for name, file in {"manifest": "manifest.json", "onnx": "model.onnx"}.items():
            digest = file_digest(folder / file)
            key = store.put(folder / file, digest)
            size = (folder / file).stat().st_size
            objects.hold(session, key, size)
            files[name] = {"path": file, "bytes": size, "digest": digest, "key": key}
        session.add(Model(name="tiny", created_by="test"))
        session.flush()
        row = ModelVersion(
            model="tiny", number=1, state="ready", created_by="test", manifest=plain(manifest), formats=["onnx"]
        )
        row.files, row.weights_digest = files, manifest.weights_digest
        session.add(row)
    engine.dispose()


def kill_the_job(service: Service) -> None:
    for process in service.processes():
        if {"detco_core", "extract"} <= set(words_of(process)):
            kill(process)


def wait_for_parts(service: Service, job: str, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        files = service.get(f"/v1/extractions/{job}/files")["items"]
        if sum(file["path"].endswith(".jsonl") for file in files) >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"no shard was stored:\n{service.log()}")


def test_killed_in_the_middle_it_goes_on_and_equals_features(service: Service, photos: Path, tmp_path: Path) -> None:
    service.add_dataset("pictures", photos)
    put_model(service, tmp_path / "bundle")
    answer = service.request("PUT", "/v1/models/tiny/aliases/production", json={"version": 1})
    assert answer.status_code == 200, answer.text
    body = {"model": "tiny", "dataset": "pictures", "levels": ["res2", "res5"], "shard_images": 2}
    job = service.post("/v1/extractions", body)["id"]
    wait_for_parts(service, job, 2)
    kill_the_job(service)
    done = service.finished(f"/v1/extractions/{job}")
    assert (done["report"]["images"], done["report"]["broken"], done["report"]["shards"]) == (IMAGES, 0, IMAGES // 2)
    starts = [
        event["data"]["resumed_from"] for event in service.get(f"/v1/extractions/{job}/events?type=started")["items"]
    ]
    assert starts[0] is None
    assert len(starts) == 2
    assert starts[1] >= 4
    with DetcoClient(service.url, service.token) as client:
        client.extractions.download(job, tmp_path / "files")
        found = client.extractions.open(job, tmp_path / "cache")
        assert sorted(found) == [f"{n:02}.png" for n in range(IMAGES)]
        for name in ("00.png", f"{starts[1]:02}.png", "19.png"):
            (asked,) = client.features(photos / name, model="tiny", levels=["res2", "res5"]).images
            for level, array in asked.levels.items():
                np.testing.assert_array_equal(found[name].arrays[level], array)
