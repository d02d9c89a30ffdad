"""One of each thing a service can have, and by which names paths and bodies may mean them."""

import hashlib
from typing import Any

from PIL import Image

from detco_core.contract import events
from tests.unit.server.api.conftest import House


def furnish(house: House, client: Any) -> dict[str, list[Any]]:
    """Make one of each thing; what may be named, by the name of the path's parameter or the body's key."""
    sources = _sources(house, client)
    jobs = _jobs(house, client)
    around = _around(client)
    return sources | jobs | around | _BODIES | {"uri": [str(house.root / "one"), str(house.root / "w.pth"), "/etc"]}


_BODIES: dict[str, list[Any]] = {
    "name": ["photos", "net", "new-1", "new-2"],
    "dataset": ["photos", "sorted", "photos@1"],
    "preset": ["smoke", "detco_r18"],
    "overrides": [{}, {"train.steps": 4}],
    "grid": [None, {"seed": [1, 2]}],
    "combinations": [None, [{"seed": 1}]],
    "task": ["knn"],
    "options": [{}, {"k": 3}],
    "labels": [{}, {"a": "b"}],
    "url": ["https://example.org/hook"],
    "events": [["*"], ["run.*"]],
    "architecture": ["resnet18", "resnet50"],
    "number": ["1", "2"],
    "version": [1, 2],
    "alias": ["production"],
    "consumer": ["camera"],
    "format": ["onnx", "manifest"],
    "artifact": ["log.txt"],
    "model": ["net", "net:1", "net@production"],
    "levels": [None, ["res5"], ["res2", "res3"]],
    "resize": [None, "none", {"short_side": 64}],
    "boxes_from": [None],
}


def post(client: Any, path: str, body: Any = None) -> Any:
    answer = client.post(path, json=body)
    assert answer.ok, answer.text
    return answer.json()


def _sources(house: House, client: Any) -> dict[str, list[Any]]:
    post(client, "/v1/datasets", {"name": "photos", "kind": "images", "uri": str(house.photos("one", 20))})
    house.scan(20)
    for split in ("train", "val"):
        folder = house.root / "sorted" / split / "a"
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "0.png")
    post(client, "/v1/datasets", {"name": "sorted", "kind": "labelled", "uri": str(house.root / "sorted")})
    house.scan(2)
    (house.root / "w.pth").write_bytes(b"tensors")
    weights = {"uri": str(house.root / "w.pth"), "architecture": "resnet18"}
    made = post(client, "/v1/weights", weights)["id"]
    house.bring_in()
    return {"weights_id": [made], "weights": [made, "random"]}


def _jobs(house: House, client: Any) -> dict[str, list[Any]]:
    run = post(client, "/v1/runs", {"dataset": "photos", "preset": "smoke", "labels": {"a": "b"}})["id"]
    taken = house.claim("gpu")
    saved = (house.checkpoint(20, b"weights"), house.keep(house.root / "step-20.pt", "log.txt"))
    house.say(taken, *saved, events.Metrics(step=1, values={"loss": 1.0}), events.Finished())
    house.close(taken)
    post(client, "/v1/models/net/versions", {"run": run})
    house.export()
    assert client.put("/v1/models/net/aliases/production", json={"version": 1}).ok
    queued = post(client, "/v1/runs", {"dataset": "photos", "preset": "smoke"})["id"]
    evaluation = post(client, "/v1/evaluations", {"task": "knn", "source": {"run": run}, "dataset": "sorted"})["id"]
    extraction = post(client, "/v1/extractions", {"model": "net", "dataset": "photos"})["id"]
    sweep = post(client, "/v1/sweeps", {"dataset": "photos", "preset": "smoke", "grid": {"seed": [1, 2]}})["id"]
    checkpoint = client.get(f"/v1/runs/{run}/checkpoints").json()["items"][0]["id"]
    return {
        "job": [run, queued, evaluation, extraction],
        "run": [run],
        "ids": [[run, queued]],
        "after": [[], [run]],
        "init": [None, {"run": run}],
        "source": [{"run": run}, {"weights": "random"}, {"model": "net"}],
        "checkpoint": [checkpoint, "last", "best"],
        "sweep": [sweep],
    }


def _around(client: Any) -> dict[str, list[Any]]:
    token = post(client, "/v1/tokens", {"name": "one", "scopes": ["read"]})["id"]
    webhook = post(client, "/v1/webhooks", {"url": "https://example.org/", "events": ["*"]})["id"]
    delivery = post(client, f"/v1/webhooks/{webhook}/test")["id"]
    asked = {"kind": "weights", "bytes": 7, "sha256": hashlib.sha256(b"tensors").hexdigest()}
    upload = post(client, "/v1/uploads", asked)["id"]
    return {"token": [token], "webhook": [webhook], "delivery": [delivery], "upload_id": [upload]}
