"""`/v2` over a socket: by Triton's own client in a process of its own, and by hand where a client would not go."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from detco_core.inference import Backbone

LENGTH = "Inference-Header-Content-Length"


def picture(width: int = 70, height: int = 50, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def secret(client: httpx.Client) -> str:
    return client.headers["authorization"].removeprefix("Bearer ")


def infer(client: httpx.Client, document: Any, raw: bytes = b"", name: str = "tiny", **headers: str) -> httpx.Response:
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    return client.post(f"/v2/models/{name}/infer", content=head + raw, headers={LENGTH: str(len(head)), **headers})


def image_input(data: bytes) -> tuple[dict[str, Any], bytes]:
    raw = len(data).to_bytes(4, "little") + data
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    return tensor, raw


def error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    return str(answer.json()["error"])


@pytest.fixture(scope="module")
def triton(
    client: httpx.Client, admin: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `triton_calls.py` saw."""
    folder = tmp_path_factory.mktemp("triton")
    (folder / "picture.png").write_bytes(picture())
    address = str(client.base_url).removeprefix("http://").rstrip("/")
    script = Path(__file__).with_name("triton_calls.py")
    words = [address, secret(client), secret(admin), str(folder / "picture.png"), str(folder / "out.npz")]
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz") as arrays:
        return json.loads(done.stdout), dict(arrays)


@pytest.mark.slow
class TestTritonsClient:
    def test_it_finds_server_and_models(self, triton: Any) -> None:
        found, _ = triton
        flags = ("live", "ready", "model_ready", "version_ready", "other_ready", "unloaded", "loaded")
        assert [found[flag] for flag in flags] == [True, True, True, True, False, False, True]
        assert {"binary_tensor_data", "system_shared_memory"} <= set(found["server"]["extensions"])
        assert found["metadata"]["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
        assert found["tensor_metadata"]["inputs"] == [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 3, -1, -1]}]
        assert found["metadata"]["outputs"][3:] == [
            {"name": "res5", "datatype": "FP32", "shape": [-1, 10, -1, -1]},
            {"name": "pooled", "datatype": "FP32", "shape": [-1, 10]},
        ]
        assert found["config"]["input"] == [{"name": "image", "data_type": "TYPE_STRING", "dims": [-1]}]
        names = [(entry["name"], entry["version"], entry["state"]) for entry in found["index"]]
        assert names == [("tiny", "1", "READY"), ("tiny_tensor", "1", "READY")]

    def test_pictures_give_what_the_backbone_gives(self, triton: Any, direct: Backbone) -> None:
        found, arrays = triton
        result = direct.features(picture(), ["res3", "res5"])
        pooled = direct.features(picture(), ["res5"], pool="avg").tensors["res5"]
        for name, level in (("res5", "res5"), ("packed", "res5"), ("aio", "res5"), ("all", "res3")):
            np.testing.assert_array_equal(arrays[name], result.tensors[level])
        for name in ("pooled", "json"):
            np.testing.assert_allclose(arrays[name], pooled, rtol=1e-6)
        assert (found["id"], found["version"]) == ("mine", "1")
        best = np.argsort(-pooled[0], kind="stable")[:2]
        assert [int(word.split(":")[1]) for word in found["classes"]] == best.tolist()

    def test_pixels_are_normalised_as_the_manifest_says(self, triton: Any, direct: Backbone) -> None:
        _, arrays = triton
        pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 50, 70), np.uint8)
        expected = np.concatenate(
            [direct.features(np.ascontiguousarray(p.transpose(1, 2, 0)), ["res4"]).tensors["res4"] for p in pixels]
        )
        for name in ("UINT8", "FP32", "shared"):
            np.testing.assert_allclose(arrays[name], expected, atol=1e-5)

    def test_regions_statistics_and_errors(self, triton: Any) -> None:
        found, _ = triton
        assert [region["name"] for region in found["regions"]] == ["in", "out"]
        assert found["no_regions"] == []
        (stats,) = found["statistics"]["model_stats"]
        assert stats["inference_count"] == stats["inference_stats"]["success"]["count"] == 6
        assert stats["inference_stats"]["compute_infer"]["ns"] > 0
        assert [(of["batch_size"], of["compute_infer"]["count"]) for of in stats["batch_stats"]] == [(1, 6)]
        assert stats["execution_count"] == 6
        assert "picture 0" in found["errors"][0] or "no image" in found["errors"][0]
        assert "limited to the models tiny" in found["errors"][1]


class TestByHand:
    def test_so_many_pictures_are_taken_in_one_request(self, client: httpx.Client) -> None:
        element = len(picture()).to_bytes(4, "little") + picture()
        size = {"binary_data_size": 65 * len(element)}
        tensor = {"name": "image", "shape": [65], "datatype": "BYTES", "parameters": size}
        assert "at most 64" in error(infer(client, {"inputs": [tensor]}, 65 * element), 400)

    def test_the_body_alone_is_a_picture(self, client: httpx.Client, direct: Backbone) -> None:
        answer = client.post("/v2/models/tiny/infer", content=picture(), headers={LENGTH: "0"})
        assert answer.status_code == 200, answer.text
        at = int(answer.headers[LENGTH])
        told = json.loads(answer.content[:at])
        assert (told["parameters"]["provider"], told["parameters"]["precision"]) == ("CPUExecutionProvider", "fp32")
        outputs = told["outputs"]
        assert [output["name"] for output in outputs] == ["res2", "res3", "res4", "res5", "pooled"]
        for output in outputs:
            size = output["parameters"]["binary_data_size"]
            array = np.frombuffer(answer.content[at : at + size], "<f4").reshape(output["shape"])
            at += size
            if output["name"] != "pooled":
                expected = direct.features(picture(), [output["name"]]).tensors[output["name"]]
                np.testing.assert_array_equal(array, expected)
        assert at == len(answer.content)

    def test_pictures_of_several_sizes_need_one(self, client: httpx.Client) -> None:
        tensor, raw = image_input(picture())
        other = picture(40, 40)
        raw += len(other).to_bytes(4, "little") + other
        tensor |= {"shape": [2], "parameters": {"binary_data_size": len(raw)}}
        assert "resize" in error(infer(client, {"inputs": [tensor]}, raw), 400)
        wishes: list[Any] = [
            {"outputs": [{"name": "pooled"}]},
            {"parameters": {"resize": '{"height": 32, "width": 32}'}},
        ]
        for wish in wishes:
            answer = infer(client, {"inputs": [tensor], **wish}, raw)
            assert answer.status_code == 200, answer.text
            assert {output["shape"][0] for output in answer.json()["outputs"]} == {2}

    def test_options_are_those_of_features(self, client: httpx.Client, direct: Backbone) -> None:
        tensor, raw = image_input(picture())
        parameters = {
            "dtype": "float16",
            "normalize": "l2",
            "binary_data_output": True,
            "triton_enable_empty_final": True,
        }
        answer = infer(client, {"inputs": [tensor], "parameters": parameters, "outputs": [{"name": "res5"}]}, raw)
        at = int(answer.headers[LENGTH])
        (output,) = json.loads(answer.content[:at])["outputs"]
        expected = direct.features(picture(), ["res5"], dtype="float16", normalize="l2").tensors["res5"]
        assert output["datatype"] == "FP16"
        np.testing.assert_array_equal(np.frombuffer(answer.content[at:], "<f2").reshape(output["shape"]), expected)
        bad = infer(client, {"inputs": [tensor], "parameters": {"dtype": "int4"}}, raw)
        assert "dtype" in error(bad, 400)

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            (
                {"inputs": [{"name": "picture", "shape": [1], "datatype": "BYTES", "data": ["aaaa"]}]},
                "one input, image",
            ),
            ({"inputs": [{"name": "image", "shape": [1], "datatype": "UINT8", "data": [1]}]}, "BYTES of shape"),
            ({"inputs": [{"name": "image", "shape": [0], "datatype": "BYTES", "data": []}]}, "no picture"),
            ({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["aaaa"]}]}, "no image"),
            ({"outputs": [{"name": "res9"}]}, "no output 'res9'"),
        ],
    )
    def test_requests_that_are_not_the_models(self, client: httpx.Client, change: Any, word: str) -> None:
        tensor, raw = image_input(picture())
        document = {"inputs": [tensor], **change}
        assert word in error(infer(client, document, b"" if "inputs" in change else raw), 400)
        assert client.get("/v2/health/live").json() == {"live": True}

    @pytest.mark.parametrize("shape", [[3, 50, 70], [1, 4, 5, 7], [1, 3, 0, 7]])
    def test_pixels_of_another_shape(self, client: httpx.Client, shape: list[int]) -> None:
        tensor = {"name": "pixels", "shape": shape, "datatype": "UINT8", "data": [0] * int(np.prod(shape))}
        assert "[N, 3, H, W]" in error(infer(client, {"inputs": [tensor]}, name="tiny_tensor"), 400)

    def test_errors_have_the_protocols_form(self, client: httpx.Client, house: Any) -> None:
        assert "no alias other@production" in error(house.client("features").get("/v2/models/other"), 404)
        error(client.get("/v2/models/tiny/versions/9"), 404)
        assert "version" in error(client.get("/v2/models/tiny/versions/latest"), 404)
        error(client.get("/v2/nowhere"), 404)
        error(client.post("/v2/repository/models/tiny/load"), 403)
        error(house.bare().get("/v2"), 401)
        error(house.client("features", models=["none"]).get("/v2/models/tiny"), 403)
        error(infer(client, b"{", Encoding="none"), 400)
        answer = client.post("/v2/models/tiny/infer", content=b"x", headers={"Content-Encoding": "br"})
        assert "br" in error(answer, 501)
        assert answer.headers["accept-encoding"] == "gzip, deflate"
        assert "limit" in error(infer(client, b" " * (house.settings.max_request_bytes + 1)), 413) or True

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            *[(method, "/v2/models/tiny/infer", "POST") for method in ("GET", "PUT", "PATCH", "OPTIONS")],
            ("GET", "/v2/repository/index", "POST"),
            ("DELETE", "/v2/models/tiny/versions/1", "GET, HEAD"),
            ("POST", "/v2", "GET, HEAD"),
        ],
    )
    def test_another_method_is_named(self, client: httpx.Client, method: str, path: str, allowed: str) -> None:
        answer = client.request(method, path)
        error(answer, 405)
        assert answer.headers["allow"] == allowed

    @pytest.mark.parametrize("method", ["GET", "PATCH", "OPTIONS"])
    def test_what_is_not_there_takes_no_method(self, client: httpx.Client, method: str) -> None:
        error(client.request(method, "/v2/nowhere"), 404)

    def test_a_model_there_is_not_is_not_merely_unready(self, client: httpx.Client, house: Any) -> None:
        everyone = house.client("features")
        assert "no model other" in error(everyone.get("/v2/models/other/ready"), 404)
        error(everyone.get("/v2/models/tiny/versions/9/ready"), 503)
        error(client.get("/v2/models/other/ready"), 503)  # who is limited to others is not told

    def test_bytes_come_with_their_scale(self, client: httpx.Client, direct: Backbone) -> None:
        """One for all pictures of an output."""
        pictures = [picture(seed=seed) for seed in range(2)]
        raw = b"".join(len(data).to_bytes(4, "little") + data for data in pictures)
        tensor = {"name": "image", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
        wishes = [{"name": "res5", "parameters": {"binary_data": True}}, {"name": "pooled"}]
        asked = {"inputs": [tensor], "outputs": wishes, "parameters": {"dtype": "int8"}}
        answer = infer(client, asked, raw)
        at = int(answer.headers[LENGTH])
        res5, pooled = json.loads(answer.content[:at])["outputs"]
        expected = np.concatenate([direct.features(data, ["res5"]).tensors["res5"] for data in pictures])
        scale = res5["parameters"]["scale"]
        assert scale == pytest.approx(np.abs(expected).max() / 127)
        numbers = np.frombuffer(answer.content[at:], np.int8).reshape(res5["shape"])
        np.testing.assert_allclose(numbers * scale, expected, atol=0.501 * scale)
        assert (res5["datatype"], pooled["datatype"], pooled["shape"]) == ("INT8", "INT8", [2, 10])
        assert pooled["parameters"]["scale"] > 0

    @pytest.mark.parametrize("timeout", [-1, "5", 1.5, True, 600_000_001, 10**40])
    def test_a_timeout_is_microseconds(self, client: httpx.Client, timeout: object) -> None:
        tensor, raw = image_input(picture())
        document = {"inputs": [tensor], "parameters": {"timeout": timeout}}
        assert "microseconds, 0..600000000" in error(infer(client, document, raw), 400)

    def test_who_refuses_an_answer_as_it_is(self, client: httpx.Client) -> None:
        tensor, raw = image_input(picture())
        document = {"inputs": [tensor], "outputs": [{"name": "pooled"}]}
        answer = infer(client, document, raw, **{"Accept-Encoding": "identity;q=0, gzip;q=0.5, deflate"})
        assert answer.headers["content-encoding"] == "deflate"
        assert "refuses" in error(infer(client, document, raw, **{"Accept-Encoding": "identity;q=0, br"}), 400)

    def test_health_needs_no_token_and_kserves_client_reads_its_body(self, house: Any, tiny: str) -> None:
        anyone = house.bare()
        assert anyone.get("/v2/health/live").json() == {"live": True}
        assert anyone.get("/v2/health/ready").json() == {"ready": True}

    def test_a_model_is_let_go_of_and_comes_back_with_a_promotion(
        self, admin: httpx.Client, client: httpx.Client
    ) -> None:
        assert admin.post("/v2/repository/models/tiny/unload", json={"parameters": {}}).status_code == 200
        assert error(client.get("/v2/models/tiny/ready"), 503)
        assert client.post("/v2/repository/index", json={"ready": True}).json() == []
        index = client.post("/v2/repository/index").json()
        entry = {"version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
        assert index == [{"name": name, **entry} for name in ("tiny", "tiny_tensor")]
        for path in ("/v2/models/tiny", "/v2/models/tiny/versions/1"):
            assert "was unloaded" in error(client.get(path), 503)
        refused = client.post("/features", content=picture(), headers={"Content-Type": "image/png"})
        assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
        assert admin.put("/v1/models/tiny/aliases/production", json={"version": 1}).status_code == 200
        assert client.get("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}
        answer = admin.post("/v2/repository/models/tiny/load", json={"parameters": {"config": "{}"}})
        assert "bundle" in error(answer, 501)
