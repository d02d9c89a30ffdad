"""Events, attempts, files and logs of jobs; streams over a real socket."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from control.db.models import Attempt
from control.db.session import unit_of_work
from control.records.journal import logs
from control.storage.base import file_digest
from detco_core.contract import events
from server.http.callers.streams import MAX_STREAMS
from tests.unit.server.api.pages import walk

SSE = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def _photos(photos: str) -> None:
    """Every test here has a data set."""


@pytest.fixture
def run(admin: httpx.Client, house: Any) -> Iterator[Any]:
    """A run that a worker has claimed, ended after the test."""
    answer = admin.post("/v1/runs", json={"dataset": "photos", "preset": "smoke"})
    assert answer.status_code == 202
    taken = house.claim("gpu")
    assert taken.run_id == answer.json()["id"]
    yield taken
    if admin.get(f"/v1/runs/{taken.run_id}").json()["state"] == "running":
        house.close(taken)


def stream(client: httpx.Client, path: str, last: int | None = None) -> list[ServerSentEvent]:
    """A stream to its end."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with connect_sse(client, "GET", path, headers=headers) as source:
        assert source.response.status_code == 200
        return list(source.iter_sse())


def finish(house: Any, run: Any) -> None:
    house.say(run, events.Progress(step=1, steps=2), events.Metrics(step=1, values={"loss": 1.0}), events.Finished())
    house.close(run)


class TestEvents:
    def test_the_list_tells_the_story(self, admin: httpx.Client, house: Any, run: Any) -> None:
        finish(house, run)
        page = admin.get(f"/v1/runs/{run.run_id}/events").json()
        kinds = [item["type"] for item in page["items"]]
        assert kinds == ["state", "state", "state", "progress", "metrics", "finished", "state"]
        assert page["items"][3]["data"]["step"] == 1
        assert page["items"][-1]["data"]["state"] == "completed"
        assert page["next_page_token"] is None

    def test_pages_of_events_join(self, admin: httpx.Client, house: Any, run: Any) -> None:
        finish(house, run)
        path = f"/v1/runs/{run.run_id}/events"
        whole = admin.get(path).json()["items"]
        first = admin.get(path, params={"page_size": 3}).json()
        rest = admin.get(path, params={"page_token": first["next_page_token"]}).json()
        assert first["items"] + rest["items"] == whole
        assert admin.get(path, params={"after": whole[-2]["id"]}).json()["items"] == whole[-1:]

    def test_a_stream_replays_and_ends(self, admin: httpx.Client, house: Any, run: Any) -> None:
        finish(house, run)
        path = f"/v1/runs/{run.run_id}/events"
        told = stream(admin, path)
        listed = admin.get(path).json()["items"]
        assert [(int(e.id), e.event) for e in told[:-1]] == [(item["id"], item["type"]) for item in listed]
        assert told[-1].event == "end"
        assert json.loads(told[-1].data) == {"state": "completed", "reason": None}
        middle = listed[3]["id"]
        again = stream(admin, path, last=middle)
        assert [int(e.id) for e in again[:-1]] == [item["id"] for item in listed if item["id"] > middle]

    def test_a_stream_follows_what_comes(self, admin: httpx.Client, house: Any, run: Any) -> None:
        later = threading.Timer(0.5, finish, (house, run))
        later.start()
        told = stream(admin, f"/v1/runs/{run.run_id}/events")
        later.join()
        assert [event.event for event in told][-4:] == ["metrics", "finished", "state", "end"]

    def test_headers_of_a_stream(self, admin: httpx.Client, house: Any, run: Any) -> None:
        with admin.stream("GET", f"/v1/runs/{run.run_id}/events", headers=SSE) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-accel-buffering"] == "no"
            assert answer.headers["cache-control"] == "no-store"
            assert next(answer.iter_lines()) == ": follows"

    def test_a_stream_lives_for_a_bounded_time(
        self, admin: httpx.Client, run: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("server.http.jobs.follow.LIFETIME_SECONDS", 2.0)
        told = stream(admin, f"/v1/runs/{run.run_id}/events")
        assert [event.event for event in told] == ["state", "state", "state"]

    def test_open_streams_are_counted_and_bounded(self, house: Any, run: Any, admin: httpx.Client) -> None:
        client = house.client("read")
        path = f"/v1/runs/{run.run_id}/events"
        many = httpx.Client(
            base_url=house.url, headers=client.headers, limits=httpx.Limits(max_connections=99), timeout=60
        )
        with many, ExitStack() as stack:
            for _ in range(MAX_STREAMS):
                stack.enter_context(many.stream("GET", path, headers=SSE))
            wait(lambda: f"detco_http_streams {MAX_STREAMS}.0" in admin.get("/metrics").text)
            refused = many.get(path, headers=SSE)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
            assert many.get(path).status_code == 200
        wait(lambda: "detco_http_streams 0.0" in admin.get("/metrics").text)

    def test_an_unknown_job(self, admin: httpx.Client) -> None:
        for headers in ({}, SSE):
            answer = admin.get("/v1/runs/run_none/events", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def wait(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestAttempts:
    def test_every_try_is_shown(self, admin: httpx.Client, house: Any, run: Any) -> None:
        house.close(run, "failed", error_kind="user", message="bad luck", exit_code=1, log_tail="last words")
        (attempt,) = admin.get(f"/v1/runs/{run.run_id}/attempts").json()["items"]
        assert (attempt["number"], attempt["state"], attempt["error_kind"]) == (1, "failed", "user")
        assert (attempt["reason"], attempt["exit_code"], attempt["log_tail"]) == ("bad luck", 1, "last words")
        assert attempt["host"] == "here"
        admin.post(f"/v1/runs/{run.run_id}/kill")

    def test_they_have_pages_oldest_first(self, admin: httpx.Client, house: Any, run: Any) -> None:
        with unit_of_work(house.engine) as session:
            tried: dict[str, Any] = {"worker_id": "w", "host": "here", "slots": [], "state": "lost", "created_by": "t"}
            session.add_all(Attempt(run_id=run.run_id, number=n, fence=90 + n, **tried) for n in (2, 3))
        shown = walk(admin, f"/v1/runs/{run.run_id}/attempts", 2)
        assert [attempt["number"] for attempt in shown] == [1, 2, 3]


class TestOutputs:
    def test_checkpoints_and_their_files(self, admin: httpx.Client, house: Any, run: Any) -> None:
        content = bytes(range(256)) * 10
        house.say(run, house.checkpoint(5, b"older"), house.checkpoint(10, content))
        path = f"/v1/runs/{run.run_id}/checkpoints"
        newest, older = admin.get(path).json()["items"]
        assert (newest["step"], older["step"], newest["bytes"]) == (10, 5, len(content))
        for name in (newest["id"], "last"):
            answer = admin.get(f"{path}/{name}/file")
            assert (answer.status_code, answer.content) == (200, content)
            assert answer.headers["etag"] == f'"{newest["sha256"]}"'
        asked = admin.head(f"{path}/last/file")
        assert (asked.status_code, asked.content, asked.headers["content-length"]) == (200, b"", str(len(content)))
        assert asked.headers["etag"] == f'"{newest["sha256"]}"'
        part = admin.get(f"{path}/last/file", headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, content[100:200])
        assert admin.get(f"{path}/last").json()["id"] == newest["id"]
        refused = admin.get(f"{path}/best/file")
        assert refused.status_code == 409
        assert "monitor" in refused.json()["detail"]
        assert admin.get(f"{path}/ckpt_none").status_code == 404

    def test_metrics_are_values_by_step(self, admin: httpx.Client, house: Any, run: Any) -> None:
        house.say(run, *(events.Metrics(step=n, values={"loss": 9.0 - n, "lr": 0.1}) for n in range(1, 6)))
        path = f"/v1/runs/{run.run_id}/metrics"
        points = admin.get(path, params={"key": "loss"}).json()["items"]
        assert [(p["step"], p["key"], p["value"]) for p in points] == [(n, "loss", 9.0 - n) for n in range(1, 6)]
        assert len(admin.get(path).json()["items"]) == 10
        assert [p["step"] for p in admin.get(path, params={"key": "lr", "after_step": 3}).json()["items"]] == [4, 5]
        thinned = admin.get(path, params={"key": "loss", "max_points": 2}).json()["items"]
        assert len(thinned) == 2
        assert thinned[-1]["step"] == 5

    def test_artifacts(self, admin: httpx.Client, house: Any, run: Any) -> None:
        path = house.root / "notes.txt"
        path.write_text("hello")
        house.say(run, house.keep(path, "notes.txt"))
        (artifact,) = admin.get(f"/v1/runs/{run.run_id}/artifacts").json()["items"]
        assert (artifact["name"], artifact["bytes"]) == ("notes.txt", 5)
        house.say(run, *(replace(house.keep(path, "notes.txt"), name=name) for name in ("z", "a/b", "m")), first=2)
        names = [found["name"] for found in walk(admin, f"/v1/runs/{run.run_id}/artifacts", 2)]
        assert names == ["a/b", "m", "notes.txt", "z"]


def prints(house: Any, run: Any, text: str) -> None:
    """What the worker does with what an attempt prints."""
    with unit_of_work(house.engine) as session:
        start = logs.length(session, run.run_id, run.fence, 0)
        assert logs.append(session, run.run_id, run.fence, 0, start, text.encode())


class TestLogs:
    def test_of_a_running_attempt(self, admin: httpx.Client, house: Any, run: Any) -> None:
        prints(house, run, "one\n")
        prints(house, run, "two\n")
        path = f"/v1/runs/{run.run_id}/logs"
        answer = admin.get(path)
        assert answer.text == "one\ntwo\n"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-log-next-offset"] == "8"
        assert admin.get(path, headers={"Range": "bytes=2-5"}).text == "e\ntw"
        assert admin.get(path, params={"offset": 4}).text == "two\n"
        some = admin.get(path, params={"offset": 2, "limit": 4})
        assert (some.text, some.headers["x-log-next-offset"]) == ("e\ntw", "6")
        beyond = admin.get(path, params={"offset": 400})
        assert (beyond.text, beyond.headers["x-log-next-offset"]) == ("", "400")
        assert admin.get(path, params={"attempt": 1}).text == "one\ntwo\n"
        assert admin.get(path, params={"attempt": 2}).status_code == 404
        assert admin.get(path, params={"node": 1}).text == ""

    def test_from_the_store_and_around_what_was_left_out(
        self, admin: httpx.Client, house: Any, run: Any, tmp_path: Path
    ) -> None:
        path_of_piece = tmp_path / "piece"
        path_of_piece.write_bytes(b"".join(b"line %07d\n" % n for n in range(100_000)))
        key = house.store.put(path_of_piece, file_digest(path_of_piece))
        prints(house, run, path_of_piece.read_text())
        mark = (run.run_id, run.fence, 0)
        with unit_of_work(house.engine) as session:
            assert logs.seal(session, *mark, logs.Piece(0, 1_300_000, key))
        prints(house, run, "the middle\n")
        path = f"/v1/runs/{run.run_id}/logs"
        whole = admin.get(path).text
        assert len(whole) == 1_300_000 + 11
        assert whole.endswith("line 0099999\nthe middle\n")
        assert admin.get(path, headers={"Range": "bytes=1299980-1299999"}).text == whole[1299980:1300000]
        with unit_of_work(house.engine) as session:
            assert logs.append(session, *mark, 1_400_000, b"and the end\n")
        left_out = "\n[99989 bytes of the log were left out here]\n"
        assert admin.get(path).text == whole + left_out + "and the end\n"
        assert admin.get(path, params={"offset": 1_400_004}).text == "the end\n"
        assert admin.get(path, params={"offset": 1_300_004, "limit": 100_000}).text == "middle\n" + left_out + "and "
        house.close(run)
        told = stream(admin, path)
        assert "".join(json.loads(event.data)["text"] for event in told[:-1]) == whole + left_out + "and the end\n"
        again = stream(admin, path, last=int(told[5].id))
        assert [event.data for event in again] == [event.data for event in told[6:]]

    def test_an_artifact_of_an_older_version(self, admin: httpx.Client, house: Any, run: Any) -> None:
        path = house.root / "log.txt"
        path.write_text("kept\n")
        house.say(run, house.keep(path, "log.txt"))
        house.close(run)
        assert admin.get(f"/v1/runs/{run.run_id}/logs").text == "kept\n"

    def test_the_last_lines_are_better_than_nothing(self, admin: httpx.Client, house: Any, run: Any) -> None:
        assert admin.get(f"/v1/runs/{run.run_id}/logs").text == ""
        house.close(run, "failed", error_kind="user", log_tail="the end")
        assert admin.get(f"/v1/runs/{run.run_id}/logs").text == "the end"
        admin.post(f"/v1/runs/{run.run_id}/kill")

    def test_a_stream_follows_to_the_end(self, admin: httpx.Client, house: Any, run: Any) -> None:
        prints(house, run, "one\nhalf a li")

        def more() -> None:
            prints(house, run, "ne\nlast words without a break")
            house.close(run)

        later = threading.Timer(0.6, more)
        later.start()
        told = stream(admin, f"/v1/runs/{run.run_id}/logs")
        later.join()
        assert [event.event for event in told] == ["log"] * (len(told) - 1) + ["end"]
        texts = [json.loads(event.data)["text"] for event in told[:-1]]
        assert "".join(texts) == "one\nhalf a line\nlast words without a break"
        assert texts[0] == "one\n"
        assert [int(event.id) for event in told] == sorted(int(event.id) for event in told)
        rest = stream(admin, f"/v1/runs/{run.run_id}/logs", last=int(told[0].id))
        assert "".join(json.loads(event.data)["text"] for event in rest[:-1]) == "".join(texts[1:])

    def test_attempt_after_attempt(self, admin: httpx.Client, house: Any, run: Any) -> None:
        prints(house, run, "first try\n")
        house.close(run, "preempted")
        again = house.claim("gpu")
        assert again.run_id == run.run_id
        prints(house, again, "second try\n")
        house.close(again)
        told = stream(admin, f"/v1/runs/{run.run_id}/logs")
        assert [json.loads(event.data).get("text") for event in told] == ["first try\n", "second try\n", None]
        assert [json.loads(event.data).get("attempt") for event in told] == [1, 2, None]
