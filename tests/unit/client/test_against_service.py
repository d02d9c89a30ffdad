"""The client and the command against the real service: what the stand-in of the other tests says is what it does."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from detco_client import Conflict, DetcoClient, Forbidden, NotAuthenticated, NotFound, Refused
from detco_core.data.synthetic import write_photos
from examples.demo.service import Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    write_photos(folder / "photos", 18)
    with Service(folder / "data", folder / "log", (folder,)) as started:
        yield started


@pytest.fixture
def client(service: Service) -> Iterator[DetcoClient]:
    with service.client() as made:
        yield made


@pytest.fixture(scope="module")
def photos(service: Service) -> Any:
    with service.client() as client:
        client.datasets.add("photos", str(service.data.parent / "photos"))
        return client.datasets.wait("photos", timeout=240)


def detco(service: Service, words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "detco_client", *words.split()],
        env={"DETCO_DATA_DIR": str(service.data), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_the_service_tells_what_it_is(client: DetcoClient) -> None:
    info = client.info()
    assert "smoke" in info["presets"]
    assert info["tasks"] == ["knn"]


def test_a_data_set_is_scanned(client: DetcoClient, photos: Any) -> None:
    assert (photos["state"], photos["images"], photos["ref"]) == ("ready", 18, "photos@1")
    assert [found["name"] for found in client.datasets.list()] == ["photos"]
    assert client.datasets.version("photos", 1)["digest"] == photos["digest"]
    with pytest.raises(Conflict):
        client.datasets.add("photos", photos["root"])
    with pytest.raises(Refused):
        client.datasets.add("outside", "/etc")


def test_a_run_lives_from_submission_to_cancellation(client: DetcoClient, photos: Any) -> None:
    run = client.runs.submit(photos["ref"], "smoke", {"data.workers": 0}, name="first", labels={"a": "b"}, key="one")
    assert (
        client.runs.submit(photos["ref"], "smoke", {"data.workers": 0}, name="first", labels={"a": "b"}, key="one")[
            "id"
        ]
        == run["id"]
    )
    assert [found["id"] for found in client.runs.list(label="a=b")] == [run["id"]]
    follower = client.runs.submit(photos["ref"], "smoke", {"data.workers": 0}, after=[run["id"]])
    assert client.runs.cancel(run["id"])["state"] in ("cancelled", "cancelling")
    events = list(client.runs.events(run["id"]))
    assert events[-1].type == "end"
    assert events[-1].data["state"] == "cancelled"
    assert [event.id for event in events[:-1]] == [event["id"] for event in client.runs.history(run["id"])]
    with pytest.raises(Conflict, match="resume"):
        client.runs.resume(run["id"])
    # What waited for it is cancelled with it, and never had a checkpoint; the run itself may have saved one.
    assert client.runs.get(follower["id"])["state"] == "cancelled"
    with pytest.raises(Conflict, match="checkpoint"):
        client.runs.fork(follower["id"], {"train.steps": 40}, carry="all")
    assert client.runs.logs(run["id"]) == "".join(client.runs.follow_logs(run["id"]))


def test_weights_come_from_the_allowed_roots(client: DetcoClient) -> None:
    with pytest.raises(Refused, match="outside"):
        client.weights.add("/etc/passwd", "resnet18")
    assert list(client.weights.list()) == []
    with pytest.raises(NotFound, match="nothing"):
        client.weights.delete("nothing")


def test_a_plan_says_what_departs_from_the_paper(client: DetcoClient, photos: Any) -> None:
    plan = client.runs.plan("photos", "smoke", {"train.steps": 7})
    assert plan["config"]["train"]["steps"] == 7
    assert "method.backbone" in {deviation["key"] for deviation in plan["deviations"]}


def test_every_fault_of_a_config_is_named(client: DetcoClient, photos: Any) -> None:
    with pytest.raises(Refused) as caught:
        client.runs.submit("photos", "smoke", {"train.stepz": 1, "optimizer.lr": 2})
    assert [fault.path for fault in caught.value.errors] == ["overrides.train.stepz", "overrides.optimizer.lr"]
    assert caught.value.request_id


def test_what_is_not_there_is_not_found(client: DetcoClient) -> None:
    for ask in (client.runs.get, client.evaluations.get, client.datasets.get, client.models.get):
        with pytest.raises(NotFound, match="nothing"):
            ask("nothing")


def test_a_token_is_limited_and_revoked(client: DetcoClient, service: Service) -> None:
    made = client.tokens.create("camera", ["features"], ["backbone"])
    with DetcoClient(service.url, made["token"]) as camera:
        with pytest.raises(Forbidden):
            list(camera.runs.list())
        assert camera.info()["version"]
    assert client.tokens.get(made["id"])["models"] == ["backbone"]
    client.tokens.revoke(made["id"])
    with DetcoClient(service.url, "wrong") as stranger, pytest.raises(NotAuthenticated):
        stranger.info()


def test_the_command_finds_the_service_by_its_data_folder(service: Service, photos: Any) -> None:
    assert json.loads(detco(service, "datasets list --json"))[0]["name"] == "photos"
    assert "18" in detco(service, "datasets show photos")
    assert "train.stepz: unknown key" in detco(service, "runs submit photos --preset smoke --set train.stepz=1", code=1)
    assert "run_0" in detco(service, "runs show run_0", code=1)
