"""A model with an exported feature pyramid is served by the names its manifest gives: `/features` and `/v2`."""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from detco_core.inference import Backbone
from detco_core.inference.tiny import write_tiny_pyramid

LEVELS = ("p2", "p3", "p4", "p5", "p6")


@pytest.fixture(scope="module")
def client(admin: httpx.Client, house: Any, run: str) -> httpx.Client:
    assert admin.post("/v1/models/pyramid/versions", json={"run": run}).status_code == 202
    house.export(0, write_tiny_pyramid)
    assert admin.put("/v1/models/pyramid/aliases/production", json={"version": 1}).status_code == 200
    made: httpx.Client = house.client("features")
    return made


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder: Path = tmp_path_factory.mktemp("direct")
    write_tiny_pyramid(folder, 0)
    return Backbone(folder, providers=["CPUExecutionProvider"])


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def ask(client: httpx.Client, **query: Any) -> dict[str, np.ndarray]:
    headers = {"Content-Type": "image/png", "Accept": "application/x-npz"}
    answer = client.post("/features", params=query, content=picture(), headers=headers)
    assert answer.status_code == 200, answer.text
    found = np.load(io.BytesIO(answer.content))
    return {name: found[name] for name in found.files}


def test_every_level_is_served_by_its_name(client: httpx.Client, direct: Backbone) -> None:
    found = ask(client, levels=",".join(LEVELS))
    expected = direct.features(picture(), levels=LEVELS)
    meta = json.loads(str(found["meta"]))
    assert {output["name"]: output["parameters"]["stride"] for output in meta["outputs"]} == expected.strides
    assert meta["images"][0]["padding"] == {"right": 26, "bottom": 14}
    for level in LEVELS:
        np.testing.assert_array_equal(found[level], expected.tensors[level])


def test_boxes_take_the_level_of_their_size_and_the_default_is_the_last(client: httpx.Client, direct: Backbone) -> None:
    boxes = [(1, 2, 30, 40), (0, 0, 70, 50)]
    found = ask(client, levels="p2,p3,p4,p5", boxes=json.dumps(boxes), roi_levels="assign")
    expected = direct.features(picture(), LEVELS[:4], boxes, roi_levels="assign")
    np.testing.assert_array_equal(found["assigned"], expected.tensors["assigned"])
    assert set(ask(client)) == {"p6", "meta"}


def test_levels_of_other_networks_are_refused(client: httpx.Client) -> None:
    answer = client.post("/features?levels=res5", content=picture(), headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_level")
    assert "p2, p3, p4, p5, p6" in answer.json()["detail"]


def test_the_open_inference_protocol_has_the_same_outputs(client: httpx.Client) -> None:
    document = client.get("/v2/models/pyramid").json()
    assert [output["name"] for output in document["outputs"]] == [*LEVELS, "pooled"]
    body = {
        "inputs": [{"name": "pixels", "shape": [1, 3, 64, 96], "datatype": "UINT8", "data": [7] * (3 * 64 * 96)}],
        "outputs": [{"name": "p5"}, {"name": "pooled"}],
    }
    answer = client.post("/v2/models/pyramid_tensor/infer", json=body).json()
    assert {output["name"]: output["shape"] for output in answer["outputs"]} == {"p5": [1, 8, 2, 3], "pooled": [1, 8]}
