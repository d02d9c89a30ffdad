"""The gRPC door of `python -m server`: by Triton's own client in a process of its own, and by messages made by hand."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from detco_core.inference import Backbone
from tests.log_lines import json_lines
from tests.unit.server.api.test_oip import picture, secret

BYTES = 2**21
"""The largest request this server takes."""
_LISTENS = re.compile(r" gRPC on (\S+)\n")
"""A port of 0 is a free one, which only the log tells."""


@pytest.fixture(scope="module")
def door(house: Any, tiny: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A process that serves features of the same data folder, and its addresses: gRPC and HTTP."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DETCO_")}
    environment |= {"DETCO_GRPC_PORT": "0", "DETCO_SHARED_MEMORY": "true", "DETCO_MAX_REQUEST_BYTES": str(BYTES)}
    environment |= {"DETCO_RESULT_CACHE_BYTES": "1000000", "DETCO_ACCESS_LOG": str(house.root / "access.jsonl")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "server", "--only", "features", "--port", "0"]
    command += ["--data-dir", str(house.settings.data_dir)]
    log = house.root / "grpc.log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        url = next((line.split()[1] for line in process.stdout if "URL" in line), "")
        until(lambda: process.poll() is not None or _LISTENS.search(log.read_text()))
        found = _LISTENS.search(log.read_text())
        assert found is not None, log.read_text()
        until(lambda: _ready(url))
        yield process, found[1], url
    finally:
        process.kill()
        process.communicate()


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def calls(
    door: tuple[Any, str, str], client: httpx.Client, admin: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `grpc_calls.py` saw."""
    folder = tmp_path_factory.mktemp("triton")
    (folder / "picture.png").write_bytes(picture())
    script = Path(__file__).with_name("grpc_calls.py")
    words = [door[1], secret(client), secret(admin), str(folder / "picture.png"), str(folder / "out.npz")]
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz") as arrays:
        return json.loads(done.stdout), dict(arrays)


def logged(house: Any, route: str, count: int) -> list[dict[str, Any]]:
    """The access log's lines of a route, once there are so many: a cancelled call ends after its caller has left."""
    while True:
        lines = json_lines(house.root / "access.jsonl")
        found = [line for line in lines if line["route"].endswith(route)]
        if len(found) >= count:
            return found
        time.sleep(0.01)


def test_it_finds_server_and_models(calls: Any) -> None:
    found, _ = calls
    flags = ("live", "ready", "model_ready", "version_ready", "other_ready", "unloaded", "loaded")
    assert [bool(found[flag]) for flag in flags] == [True, True, True, True, False, False, True]
    assert {"binary_tensor_data", "system_shared_memory"} <= set(found["server"]["extensions"])
    assert found["metadata"]["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": ["-1"]}]
    assert found["tensor_metadata"]["inputs"][0]["datatype"] == "UINT8"
    names = [output["name"] for output in found["metadata"]["outputs"]]
    assert names == ["res2", "res3", "res4", "res5", "pooled"]
    assert found["config"]["config"]["input"] == [{"name": "image", "data_type": "TYPE_STRING", "dims": ["-1"]}]
    index = [(entry["name"], entry["version"], entry["state"]) for entry in found["index"]["models"]]
    assert index == [("tiny", "1", "READY"), ("tiny_tensor", "1", "READY")]


def test_pictures_give_what_the_backbone_gives(calls: Any, direct: Backbone) -> None:
    found, arrays = calls
    result = direct.features(picture(), ["res3", "res5"])
    pooled = direct.features(picture(), ["res5"], pool="avg").tensors["res5"]
    for name, level in (("res5", "res5"), ("callback", "res5"), ("aio", "res5"), ("typed", "res5"), ("all", "res3")):
        np.testing.assert_array_equal(arrays[name], result.tensors[level])
    np.testing.assert_allclose(arrays["pooled"], pooled, rtol=1e-6)
    assert (found["id"], found["version"], found["provider"]) == ("mine", "1", direct.provider)
    assert arrays["half"].dtype == np.float16
    assert arrays["half"].shape[2:] == (1, 1)
    best = np.argsort(-pooled[0], kind="stable")[:2]
    assert [int(word.split(":")[1]) for word in found["classes"]] == best.tolist()


def test_a_stream_answers_in_order_and_survives_a_damaged_picture(calls: Any, direct: Backbone, house: Any) -> None:
    found, arrays = calls
    for told, damaged, count in ((found["stream"]["told"], 7, 20), (found["aio_stream"], 1, 5)):
        assert "no image" in told[damaged]
        assert [name for n, name in enumerate(told) if n != damaged] == [str(n) for n in range(count) if n != damaged]
    np.testing.assert_array_equal(arrays["stream"], direct.features(picture(), ["res5"]).tensors["res5"])
    assert found["stream"]["cancelled"] == "StatusCode.CANCELLED"
    streams = logged(house, "/ModelStreamInfer", 3)
    assert sorted(line["grpc"] for line in streams) == ["CANCELLED", "OK", "OK"]
    whole = next(line for line in streams if line["grpc"] == "OK")
    name = f"{whole['request_id']}."
    requests = [line for line in logged(house, "/ModelStreamInfer/request", 20) if line["request_id"].startswith(name)]
    assert [line["grpc"] for line in requests].count("OK") == 19
    assert whole["bytes_out"] == sum(line["bytes_out"] for line in requests)


def test_health_is_told_without_a_token(calls: Any) -> None:
    found, _ = calls
    assert found["raw"]["health"] == [True, True]


def test_pixels_and_shared_memory(calls: Any, direct: Backbone) -> None:
    found, arrays = calls
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 50, 70), np.uint8)
    images = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in pixels]
    expected = np.concatenate([direct.features(image, ["res4"]).tensors["res4"] for image in images])
    for name in ("FP32", "shared"):
        np.testing.assert_allclose(arrays[name], expected, atol=1e-5)
    assert arrays["beside"].shape == (2, 10)
    assert sorted(found["regions"]["regions"]) == ["in", "out"]
    assert found["no_regions"] == {}


def test_statistics(calls: Any) -> None:
    found, _ = calls
    (stats,) = found["statistics"]["model_stats"]
    assert stats["inference_stats"]["success"]["count"] == "6"
    # Two of them were remembered, which are no inferences.
    assert stats["inference_count"] == stats["execution_count"] == "4"
    assert [(of["batch_size"], of["compute_infer"]["count"]) for of in stats["batch_stats"]] == [("1", "4")]
    assert {entry["name"] for entry in found["all_statistics"]["model_stats"]} == {"tiny", "tiny_tensor"}


@pytest.mark.parametrize(
    ("group", "name", "code", "word"),
    [
        ("errors", "junk", "INVALID_ARGUMENT", "no image"),
        ("errors", "other", "PERMISSION_DENIED", "limited to the models tiny"),
        ("errors", "version", "NOT_FOUND", "tiny:9"),
        ("errors", "output", "INVALID_ARGUMENT", "no output 'res9'"),
        ("errors", "nobody", "UNAUTHENTICATED", "send a token"),
        ("errors", "unknown", "UNAUTHENTICATED", ""),
        ("errors", "not admin", "PERMISSION_DENIED", "admin"),
        ("errors", "cuda", "UNIMPLEMENTED", ""),
        ("errors", "late", "DEADLINE_EXCEEDED", ""),
        ("raw", "garbage", "INVALID_ARGUMENT", "no ModelInferRequest"),
        ("raw", "no contents", "INVALID_ARGUMENT", "1 elements, the data has 0"),
        ("raw", "too many", "INVALID_ARGUMENT", "more entries"),
        ("raw", "too large", "RESOURCE_EXHAUSTED", "larger than max"),
        ("raw", "bomb", "RESOURCE_EXHAUSTED", "larger than max"),
        ("raw", "behind a proxy", "PERMISSION_DENIED", "on this machine"),
        ("raw", "unhealthy", "NOT_FOUND", "inference.GRPCInferenceService"),
        ("raw", "afterwards", "OK", ""),
    ],
)
def test_what_is_wrong_has_its_status(calls: Any, group: str, name: str, code: str, word: str) -> None:
    found, _ = calls
    assert found[group][name][0] == code, found[group][name]
    assert word in found[group][name][1]


def test_answers_are_remembered_where_there_is_room_and_all_memory_comes_back(
    calls: Any, door: tuple[Any, str, str], client: httpx.Client
) -> None:
    found, _ = calls
    assert found["cached"] == [False, True]
    *_, url = door
    headers = {"Content-Type": "image/png", "Authorization": client.headers["authorization"]}
    answers = [
        httpx.post(f"{url}/features", params={"pool": "avg"}, content=picture(), headers=headers, timeout=60)
        for _ in range(2)
    ]
    assert [answer.headers.get("cache-status") for answer in answers] == [None, "detco; hit"]
    assert answers[1].content.endswith(answers[0].content[-40:])
    metrics = httpx.get(f"{url}/metrics", timeout=60).text
    assert "detco_feature_reply_bytes 0.0" in metrics
    assert 'detco_feature_cached_images_total{model="tiny"}' in metrics
    assert "detco_feature_cached_bytes" in metrics
    assert 'detco_grpc_call_seconds_count{code="OK",method="ModelInfer"}' in metrics


def test_every_call_has_its_line_in_the_access_log(calls: Any, house: Any) -> None:
    lines = json_lines(house.root / "access.jsonl")
    infers = [line for line in lines if line["route"] == "/inference.GRPCInferenceService/ModelInfer"]
    first = infers[0]
    assert {first["grpc"], first["status"], first["model"], first["images"]} == {"OK", 200, "tiny", 1}
    assert first["token"].startswith("tok_")
    assert first["bytes_out"] > 0
    assert {line["cause"] for line in infers if line["grpc"] == "INVALID_ARGUMENT"} >= {"bad_tensor"}
    (mine,) = [line for line in lines if line["request_id"] == "by-hand"]
    assert (mine["grpc"], mine["status"], mine["cause"]) == ("INVALID_ARGUMENT", 400, "bad_tensor")


def test_who_hangs_up_costs_nothing_more(calls: Any, house: Any, door: tuple[Any, str, str]) -> None:
    found, _ = calls
    assert "cancelled" in found["raw"]["left"]

    def left() -> list[Any]:
        lines = json_lines(house.root / "access.jsonl")
        return [line for line in lines if line.get("grpc") == "CANCELLED" and line["route"].endswith("ModelInfer")]

    until(left)
    assert {line["cause"] for line in left()} == {"caller_left"}
    until(lambda: "detco_feature_images 0.0" in httpx.get(f"{door[2]}/metrics", timeout=60).text)


def test_it_ends_with_its_server_and_what_is_under_way_is_answered(
    calls: Any, door: tuple[Any, str, str], client: httpx.Client, tmp_path: Path
) -> None:
    process, address, url = door
    (tmp_path / "picture.png").write_bytes(picture())
    words = [address, secret(client), str(tmp_path / "picture.png")]
    command = [sys.executable, str(Path(__file__).with_name("grpc_calls.py")), *words]
    for _ in range(20):
        before = _answered(_metrics(url))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as caller:
            assert caller.stdout is not None
            said = caller.stdout.readline()
            seen: list[str] = []
            until(lambda: _is_told(seen, _metrics(url), before))  # noqa: B023 - called before the next turn
            # On a busy machine it may be over before anyone has looked; then another one is asked for.
            if said == "under way\n" and "detco_feature_images 1.0" in seen[-1]:
                process.send_signal(signal.SIGTERM)
                assert caller.stdout.read() == "OK\n0802 UNAVAILABLE\n"
                break
            caller.kill()
    assert process.wait(60) == 0


def _is_told(seen: list[str], text: str, before: int) -> bool:
    """Whether metrics, which are kept, show a picture under way, or one more call that was answered."""
    seen.append(text)
    return "detco_feature_images 1.0" in text or _answered(text) > before


def _metrics(url: str) -> str:
    return httpx.get(f"{url}/metrics", timeout=60).text


def _answered(text: str) -> int:
    """Calls for features that ended well."""
    found = re.search(r'^detco_grpc_call_seconds_count{code="OK",method="ModelInfer"} (\d+)', text, re.MULTILINE)
    return int(found[1]) if found else 0
