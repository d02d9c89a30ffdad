"""The calls of every resource, against the service's own words."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import detco_client
from detco_client import Changed, ClientError, DetcoClient, JobFailed, Refused, WaitTimeout
from detco_client.models import SUFFIXES
from detco_core.contract.manifest import EXPORT_FORMATS


@pytest.fixture
def client(service: Any) -> Any:
    with DetcoClient() as made:
        yield made


def test_the_public_names_are_exactly_these() -> None:
    visible = {
        name for name, value in vars(detco_client).items() if getattr(value, "__module__", "").startswith("detco")
    }
    assert set(detco_client.__all__) == visible


def test_the_service_tells_what_it_is(client: DetcoClient, service: Any) -> None:
    assert client.info()["presets"] == ["smoke"]
    assert client.ready()
    assert client.url == service.url
    with DetcoClient("http://127.0.0.1:9") as nobody:
        assert not nobody.ready()


def test_a_data_set_is_added_and_waited_for(client: DetcoClient, service: Any) -> None:
    assert client.datasets.add("photos", "/data/photos")["state"] == "scanning"
    assert service.state.bodies == [{"name": "photos", "uri": "/data/photos", "kind": "images"}]
    assert client.datasets.wait("photos")["images"] == 40
    assert [found["name"] for found in client.datasets.list()] == ["photos"]
    with pytest.raises(JobFailed, match="no image in it"):
        client.datasets.wait("empty")
    with pytest.raises(Refused, match="outside the allowed roots"):
        client.datasets.add("photos", "s3://elsewhere")


def test_a_key_makes_one_run_of_two_submissions(client: DetcoClient, service: Any) -> None:
    first = client.runs.submit("photos", "smoke", {"train.steps": 60}, name="first", key="k")
    again = client.runs.submit("photos", "smoke", {"train.steps": 60}, name="first", key="k")
    other = client.runs.submit("photos", "smoke")
    assert (first["id"], again["id"], other["id"]) == ("run_1", "run_1", "run_2")
    wanted = {"dataset": "photos", "preset": "smoke", "overrides": {"train.steps": 60}, "name": "first"}
    assert service.state.bodies[0] == wanted


def test_a_submission_whose_answer_is_lost_is_sent_again(client: DetcoClient, service: Any) -> None:
    service.state.refuse = [(503, {})]
    assert client.runs.submit("photos", "smoke")["id"] == "run_1"
    keys = {headers["idempotency-key"] for headers in service.state.headers("v1/runs")}
    assert len(keys) == 1


def test_a_plan_queues_nothing(client: DetcoClient, service: Any) -> None:
    assert client.runs.plan("photos", "smoke", {"seed": 1})["config"]["overrides"] == {"seed": 1}
    assert service.state.runs == {}


def test_a_run_is_steered(client: DetcoClient) -> None:
    client.runs.submit("photos", "smoke")
    assert client.runs.pause("run_1")["state"] == "paused"
    with pytest.raises(JobFailed, match="run run_1 is paused"):
        client.runs.wait("run_1")
    assert client.runs.finish("run_1")["state"] == "completed"
    assert client.runs.wait("run_1")["state"] == "completed"
    assert client.runs.cancel("run_1")["state"] == "cancelled"


def test_a_wait_has_an_end_and_shows_what_it_sees(client: DetcoClient) -> None:
    client.runs.submit("photos", "smoke")
    seen: list[str] = []
    with pytest.raises(WaitTimeout, match="still queued"):
        client.runs.wait("run_1", timeout=0.0, on_change=lambda run: seen.append(run["state"]))
    assert seen == ["queued"]


def test_events_and_logs_are_followed_to_their_end(client: DetcoClient, service: Any) -> None:
    service.state.events = [(1, "log", {"text": "a\n"}), (2, "log", {"text": "b\n"})]
    service.state.drop_after = [1]
    assert [event.type for event in client.runs.events("run_1")] == ["log", "log", "end"]
    service.state.drop_after = [1]
    assert list(client.runs.follow_logs("run_1")) == ["a\n", "b\n"]
    assert client.runs.logs("run_1") == "step 1\nstep 2\n"


def test_a_checkpoint_is_chosen_and_fetched(client: DetcoClient, service: Any, tmp_path: Path) -> None:
    assert client.runs.checkpoint("run_1")["step"] == 20
    assert client.runs.checkpoint("run_1", "10")["id"] == "ckpt_10"
    assert client.runs.checkpoint("run_1", "best")["score"] == 61.2
    assert client.runs.checkpoint("run_1", "ckpt_20")["step"] == 20
    with pytest.raises(ClientError, match="saved at steps: 10, 20"):
        client.runs.checkpoint("run_1", "11")
    assert client.runs.download("run_1", tmp_path / "c.pt").read_bytes() == service.state.file


def test_a_sweep_is_asked_for(client: DetcoClient, service: Any) -> None:
    made = client.sweeps.submit("photos", "smoke", {"seed": (1, 2)}, {"train.steps": 5}, max_parallel=1)
    common = {"dataset": "photos", "preset": "smoke", "overrides": {"train.steps": 5}, "max_parallel": 1}
    assert service.state.bodies == [common | {"grid": {"seed": [1, 2]}}]
    client.sweeps.plan("photos", "smoke", combinations=[{"seed": 1}])
    assert "grid" not in service.state.bodies[1]
    done = client.sweeps.wait(made["id"])
    assert [item["rank"] for item in done["items"]] == [None, 1]
    assert [found["id"] for found in client.sweeps.list()] == ["swp_1"]
    assert client.sweeps.cancel("swp_1")["state"] == "cancelled"


def test_an_evaluation_is_asked_for(client: DetcoClient, service: Any) -> None:
    found = client.evaluations.submit("knn", {"weights": "random"}, "labelled", {"k": 5}, group="g")
    body = {"task": "knn", "source": {"weights": "random"}, "dataset": "labelled", "options": {"k": 5}, "group": "g"}
    assert service.state.bodies == [body]
    report = client.evaluations.wait(found["id"])["report"]
    assert report is not None
    assert report["scores"] == {"top1": 61.25}
    compared = client.evaluations.compare(["eval_1", "eval_2"])
    assert [item["id"] for item in compared["items"]] == ["eval_1", "eval_2"]


def test_a_model_is_exported_promoted_pinned_and_fetched(client: DetcoClient, service: Any, tmp_path: Path) -> None:
    made = client.models.export("detector", {"run": "run_1", "checkpoint": "last"}, license="MIT")
    assert service.state.bodies == [{"run": "run_1", "checkpoint": "last", "license": "MIT"}]
    assert client.models.wait("detector", made["version"])["state"] == "ready"
    assert client.models.promote("detector", 1)["version"] == 1
    with pytest.raises(Changed):
        client.models.promote("detector", 1, if_match='"0"')
    client.models.pin("detector", 1, "lab 1")
    client.models.unpin("detector", 1, "lab 1")
    assert service.state.requests[-1][:2] == ("DELETE", "v1/models/detector/versions/1/pins/lab 1")
    target = client.models.download("detector", 1, "onnx", tmp_path / "m.onnx")
    assert target.read_bytes() == service.state.file
    with pytest.raises(ClientError, match="it has onnx, torchvision, manifest"):
        client.models.download("detector", 1, "timm")


def test_usage_is_asked_for_in_times_with_a_zone(client: DetcoClient, service: Any) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    (row,) = client.usage("group", since=noon)
    assert (row["key"], row["gpu_seconds"]) == (None, 7200.0)
    by, since = service.state.bodies[-1]
    assert (by, datetime.fromisoformat(since)) == ("group", noon)


def test_tokens_come_and_go(client: DetcoClient, service: Any) -> None:
    assert client.tokens.create("ci", ["read", "features"], ["detector"])["token"] == "dt_the_secret"
    assert [token["id"] for token in client.tokens.list()] == ["tok_1"]
    client.tokens.revoke("tok_1")
    assert service.state.bodies[-1] == "revoked tok_1"


def test_no_two_files_of_a_version_are_written_to_the_same_place() -> None:
    assert set(EXPORT_FORMATS) < set(SUFFIXES)
    assert len(set(SUFFIXES.values())) == len(SUFFIXES)
