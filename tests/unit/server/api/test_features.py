"""`POST /features` over a socket: formats, forms, and a clear answer to everything that is wrong."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load as load_safetensors

from detco_core.inference import Backbone
from server.app import make_app
from server.features.engine import FeatureEngine
from server.http.deps import Services

LENGTH = "Inference-Header-Content-Length"


def picture(width: int = 70, height: int = 50, seed: int = 0, format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture(scope="module")
def tiny(tiny: str, admin: httpx.Client, house: Any, run: str) -> str:
    """A model of two versions, the first in production."""
    house.add_version(admin, tiny, run, seed=1)
    return tiny


def ask(
    client: httpx.Client, image: bytes, kind: str = "image/jpeg", accept: str = "*/*", **query: Any
) -> httpx.Response:
    return client.post("/features", params=query, content=image, headers={"Content-Type": kind, "Accept": accept})


def send(client: httpx.Client, *images: bytes, request: Any = None, **query: Any) -> httpx.Response:
    files: list[Any] = [("image", (f"{n}.jpg", image, "image/jpeg")) for n, image in enumerate(images)]
    if request is not None:
        files.append(("request", (None, json.dumps(request), "application/json")))
    return client.post("/features", params=query, files=files)


def read(answer: httpx.Response) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The octet-stream layout by hand: JSON, then each tensor's bytes in the order of `outputs`."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    at = int(answer.headers[LENGTH])
    document = json.loads(answer.content[:at])
    tensors = {}
    for output in document["outputs"]:
        size = output["parameters"]["binary_data_size"]
        dtype = {"FP32": "<f4", "FP16": "<f2", "INT8": "i1"}[output["datatype"]]
        tensors[output["name"]] = np.frombuffer(answer.content[at : at + size], dtype).reshape(output["shape"])
        at += size
    assert at == len(answer.content) == int(answer.headers["content-length"])
    return document, tensors


def problem(answer: httpx.Response, status: int, code: str) -> Any:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code), answer.text
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


class TestOneImage:
    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_the_default_is_res5_as_octets(self, client: httpx.Client, direct: Backbone, format: str) -> None:
        image = picture(format=format)
        document, tensors = read(ask(client, image, f"image/{format.lower()}"))
        np.testing.assert_array_equal(tensors["res5"], direct.features(image).tensors["res5"])
        assert tensors["res5"].shape == (1, 10, 2, 3)
        assert document["outputs"][0]["parameters"]["stride"] == 32
        assert (document["model"], document["version"]) == ("tiny", 1)
        assert document["digest"] == direct.manifest.weights_digest
        assert document["provider"] == direct.provider
        assert document["images"][0]["original"] == {"width": 70, "height": 50}
        assert document["timings_ms"]["compute"] > 0

    def test_an_array_is_the_image_it_holds(self, client: httpx.Client, direct: Backbone) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
        document, tensors = read(ask(client, npy(pixels), "application/x-npy"))
        np.testing.assert_array_equal(tensors["res5"], direct.features(pixels).tensors["res5"])
        assert document["images"][0]["format"] == "NPY"

    def test_features_under_boxes(self, client: httpx.Client, direct: Backbone) -> None:
        boxes = [(1.5, 2, 30, 40), (-5, 0, 70, 50)]
        query = {"boxes": json.dumps(boxes), "roi_size": "3", "levels": "res3,res5", "dtype": "int8"}
        document, tensors = read(ask(client, picture(), **query))
        expected = direct.features(picture(), ["res3", "res5"], boxes, roi_size=3)
        for output in document["outputs"]:
            level, scale = output["name"], output["parameters"]["scale"]
            assert output["shape"] == list(expected.tensors[level].shape)
            np.testing.assert_allclose(tensors[level] * scale, expected.tensors[level], atol=0.51 * scale)
        assert document["images"][0]["boxes"] == {"count": 2, "clipped": [1]}

    @pytest.mark.parametrize("media", ["application/octet-stream", "application/x-npz"])
    def test_zstandard_for_who_takes_nothing_else(self, client: httpx.Client, media: str) -> None:
        plain, packed, usual = (
            client.post(
                "/features",
                params={"levels": "res2"},
                content=picture(),
                headers={"Content-Type": "image/jpeg", "Accept": media, "Accept-Encoding": codings},
            )
            for codings in ("identity", "zstd", "gzip, deflate, br, zstd")
        )
        assert packed.headers["content-encoding"] == "zstd"
        assert packed.num_bytes_downloaded == int(packed.headers["content-length"]) < len(packed.content)
        assert packed.headers["vary"] == "Accept, Accept-Encoding"
        # The client has unpacked it; the length of the JSON, which tells times, is that of the plain one.
        data = [answer.content[int(answer.headers.get(LENGTH, -1000)) :] for answer in (plain, packed)]
        assert data[0] == data[1] if LENGTH in plain.headers else packed.content.startswith(b"PK")
        assert all("content-encoding" not in answer.headers for answer in (plain, usual))

    def test_every_option(self, client: httpx.Client, direct: Backbone) -> None:
        query = {"levels": "res4,res2", "pool": "gem", "dtype": "float16", "normalize": "l2", "resize": "none"}
        query |= {"gem_p": "4"}
        document, tensors = read(ask(client, picture(), **query))
        expected = direct.features(
            picture(), ["res4", "res2"], pool="gem", gem_p=4, dtype="float16", normalize="l2", resize="none"
        )
        assert list(tensors) == ["res4", "res2"]
        for level, array in tensors.items():
            np.testing.assert_array_equal(array, expected.tensors[level])
        assert document["outputs"][0]["datatype"] == "FP16"

    def test_resize_and_geometry(self, client: httpx.Client) -> None:
        document, tensors = read(ask(client, picture(), resize='{"short_side": 100, "max_side": 120}'))
        (image,) = document["images"]
        assert image["network"] == {"width": 120, "height": 86}
        assert image["scale"] == {"x": 120 / 70, "y": 86 / 50}
        assert tensors["res5"].shape == (1, 10, 3, 4)

    @pytest.mark.parametrize("path", ["/features", "/v1/features"])
    @pytest.mark.parametrize("model", ["tiny", "tiny@production", "tiny:1"])
    def test_the_ways_to_name_a_model(self, client: httpx.Client, path: str, model: str) -> None:
        answer = client.post(path, params={"model": model}, content=picture(), headers={"Content-Type": "image/jpeg"})
        assert read(answer)[0]["version"] == 1

    def test_a_version_that_is_not_loaded_is(self, client: httpx.Client) -> None:
        assert read(ask(client, picture(), model="tiny:2"))[0]["version"] == 2

    def test_expect_digest(self, client: httpx.Client, direct: Backbone) -> None:
        read(ask(client, picture(), expect_digest=direct.manifest.weights_digest))
        document = problem(ask(client, picture(), expect_digest="sha256:1"), 412, "other_weights")
        assert direct.manifest.weights_digest in document["detail"]

    def test_archives(self, client: httpx.Client) -> None:
        expected = read(ask(client, picture()))[1]["res5"]
        npz = ask(client, picture(), accept="application/x-npz")
        with np.load(io.BytesIO(npz.content), allow_pickle=False) as archive:
            np.testing.assert_array_equal(archive["res5"], expected)
        tensors = load_safetensors(ask(client, picture(), accept="application/x-safetensors").content)
        np.testing.assert_array_equal(tensors["res5"], expected)

    def test_json_is_for_small_answers(self, client: httpx.Client) -> None:
        expected = read(ask(client, picture(), pool="avg"))[1]["res5"]
        answer = ask(client, picture(), accept="application/json", pool="avg").json()
        np.testing.assert_array_equal(np.array(answer["outputs"][0]["data"], np.float32), expected)
        large = ask(client, picture(800, 800), accept="application/json", levels="res2")
        document = problem(large, 406, "reply_too_large")
        assert "application/octet-stream" in document["detail"]


class TestSeveralImages:
    def test_one_broken_image_fails_alone(self, client: httpx.Client) -> None:
        good = [picture(60 + n, 50, seed=n) for n in range(2)]
        alone = [read(ask(client, image))[1]["res5"] for image in good]
        document, tensors = read(send(client, good[0], b"text", good[1][:100], good[1]))
        assert list(tensors) == ["0/res5", "3/res5"]
        np.testing.assert_array_equal(tensors["0/res5"], alone[0])
        np.testing.assert_array_equal(tensors["3/res5"], alone[1])
        errors = [image.get("error") for image in document["images"]]
        assert [error and (error["status"], error["code"]) for error in errors] == [
            None,
            (415, "image_unsupported"),
            (422, "image_unreadable"),
            None,
        ]
        assert [image["name"] for image in document["images"]] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]

    def test_the_request_part_holds_the_options(self, client: httpx.Client) -> None:
        options = {"levels": ["res3"], "resize": {"height": 40, "width": 40}, "model": "tiny:1"}
        document, tensors = read(send(client, picture(), picture(90, 90), request=options))
        assert {name: array.shape for name, array in tensors.items()} == {
            "0/res3": (1, 6, 5, 5),
            "1/res3": (1, 6, 5, 5),
        }
        assert document["version"] == 1

    def test_options_in_query_and_part_add_up_but_never_twice(self, client: httpx.Client) -> None:
        _, tensors = read(send(client, picture(), request={"levels": ["res3"]}, pool="avg"))
        assert tensors["res3"].shape == (1, 6)
        document = problem(send(client, picture(), request={"pool": "avg"}, pool="none"), 422, "invalid_document")
        assert document["errors"][0]["path"] == "pool"

    def test_as_many_boxes_as_are_taken_fit_to_the_last_digit(self, client: httpx.Client, direct: Backbone) -> None:
        corners = np.random.default_rng(0).random((1000, 2)) * 40
        boxes = [(float(x), float(y), float(x) + 1 / 3, float(y) + 2 / 3) for x, y in corners]
        _, tensors = read(send(client, picture(), request={"boxes": boxes, "roi_size": 1}))
        expected = direct.features(picture(), boxes=boxes, roi_size=1).tensors["res5"]
        np.testing.assert_allclose(tensors["res5"], expected, rtol=1e-5, atol=1e-5)

    def test_only_broken_images_are_an_error(self, client: httpx.Client) -> None:
        document = problem(send(client, b"text", b"more"), 422, "no_readable_image")
        assert [error["path"] for error in document["errors"]] == ["images.0", "images.1"]

    def test_too_many_images(self, house: Any, client: httpx.Client) -> None:
        answer = send(client, *[b"x"] * (house.settings.max_images + 1))
        problem(answer, 413, "body_too_large")
        assert send(client, *[b"x"] * (house.settings.max_images + 100)).status_code in (400, 413)

    @pytest.mark.parametrize(
        ("files", "status"),
        [
            ([("request", (None, "{}"))], 422),
            ([("image", ("a.jpg", b"x")), ("picture", ("b.jpg", b"x"))], 422),
            ([("image", (None, "no file name"))], 422),
            ([("image", ("a.jpg", b"x")), ("request", (None, "{}")), ("request", (None, "{}"))], 422),
            ([("image", ("a.jpg", b"x")), ("request", (None, "{"))], 422),
            ([("image", ("a.jpg", b"x")), ("request", (None, "[" * 60_000))], 422),
            ([("image", ("a.jpg", b"x")), ("request", (None, "[]"))], 422),
            ([("image", ("a.jpg", b"x")), ("request", ("r.json", b" " * 300_000))], 413),
            ([("image", ("a.jpg", b"x")), ("request", (None, '{"boxes": [[], []]}'))], 422),
            ([("image", ("a.jpg", b"x")), ("request", (None, f'{{"boxes": {[[0, 0, 1, 1]] * 1001}}}'))], 422),
        ],
    )
    def test_forms_that_are_wrong(self, client: httpx.Client, files: Any, status: int) -> None:
        answer = client.post("/features", files=files)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        "body", [b"", b"--x", b"--x\r\n\r\n", b"junk" * 100, b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--"]
    )
    @pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
    def test_bodies_that_are_no_form(self, client: httpx.Client, kind: str, body: bytes) -> None:
        answer = client.post("/features", content=body, headers={"Content-Type": kind})
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"


class TestWhatIsWrong:
    def test_text_is_no_image(self, client: httpx.Client) -> None:
        problem(ask(client, b"hello", "text/plain"), 415, "unsupported_media_type")
        problem(ask(client, b"hello", "image/jpeg"), 415, "image_unsupported")
        problem(ask(client, b"hello", ""), 415, "unsupported_media_type")
        problem(ask(client, b"", "image/jpeg"), 422, "image_unreadable")

    def test_arrays_the_model_does_not_take(self, client: httpx.Client) -> None:
        problem(ask(client, b"\x93NUMPY", "application/x-npy"), 422, "image_unreadable")
        problem(ask(client, npy(np.zeros((50, 70, 4), np.uint8)), "application/x-npy"), 422, "image_channels")
        problem(ask(client, npy(np.zeros((50, 70, 3), np.uint16)), "application/x-npy"), 422, "image_bit_depth")
        problem(ask(client, npy(np.zeros((50, 70, 3), np.float32)), "application/x-npy"), 415, "image_unsupported")

    def test_a_box_of_nothing_is_its_images_error(self, client: httpx.Client) -> None:
        problem(ask(client, picture(), boxes="[[5,5,5,9]]"), 422, "image_boxes")
        answer = send(client, picture(), picture(), request={"boxes": [[[0, 0, 9, 9]], [[90, 0, 99, 9]]]})
        document, tensors = read(answer)
        assert list(tensors) == ["0/res5"]
        assert document["images"][1]["error"]["code"] == "image_boxes"

    def test_boxes_are_not_assigned_to_levels_of_unequal_channels(self, client: httpx.Client) -> None:
        answer = ask(client, picture(), boxes="[[0,0,9,9]]", levels="res4,res5", roi_levels="assign")
        assert "equal channels" in problem(answer, 422, "unknown_level")["detail"]

    def test_a_compressed_body_is_refused(self, client: httpx.Client) -> None:
        headers = {"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}
        problem(client.post("/features", content=picture(), headers=headers), 415, "unsupported_media_type")

    def test_a_truncated_image(self, client: httpx.Client) -> None:
        problem(ask(client, picture()[:200]), 422, "image_unreadable")

    def test_an_oversized_body(self, house: Any, client: httpx.Client) -> None:
        problem(ask(client, bytes(house.settings.max_request_bytes + 1)), 413, "body_too_large")

    def test_an_unknown_level_names_those_there_are(self, client: httpx.Client) -> None:
        document = problem(ask(client, picture(), levels="res5,c4"), 422, "unknown_level")
        assert "res2, res3, res4, res5" in document["detail"]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("level", "res5"),
            ("boxes", "[[0,0,5"),
            ("roi_size", "7"),
            ("dtype", "int4"),
            ("timeout_ms", "soon"),
            ("resize", "big"),
            ("levels", ""),
        ],
    )
    def test_parameters_that_are_wrong_are_named(self, client: httpx.Client, key: str, value: str) -> None:
        document = problem(ask(client, picture(), **{key: value}), 422, "invalid_document")
        assert document["errors"][0]["path"] == key

    def test_an_unknown_model_names_those_there_are(self, house: Any, tiny: str) -> None:
        anyone = house.client("features")
        document = problem(ask(anyone, picture(), model="tiny@nowhere"), 404, "unknown_model")
        assert "tiny@production" in document["detail"]
        problem(ask(anyone, picture(), model="other"), 404, "unknown_model")
        problem(ask(anyone, picture(), model="tiny:9"), 404, "unknown_model")

    def test_who_may_ask(self, house: Any, client: httpx.Client) -> None:
        problem(ask(house.bare(), picture()), 401, "unauthorized")
        problem(ask(house.client("read"), picture()), 403, "forbidden")
        problem(ask(house.client("features", models=["other"]), picture()), 403, "forbidden")
        problem(ask(client, picture(), model="other"), 403, "forbidden")

    def test_an_accept_that_nothing_fits(self, client: httpx.Client) -> None:
        document = problem(ask(client, picture(), accept="text/html"), 406, "not_acceptable")
        assert "application/x-npz" in document["detail"]

    def test_accept_may_come_in_several_lines(self, client: httpx.Client) -> None:
        lines = [("Content-Type", "image/jpeg"), ("Accept", "text/html"), ("Accept", "application/json")]
        answer = client.post("/features", params={"pool": "avg"}, content=picture(), headers=lines)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")

    @pytest.mark.parametrize("key", ["model", "expect_digest", "levels", "unknown"])
    def test_half_a_character_is_a_fault_like_any_other(self, client: httpx.Client, key: str) -> None:
        document = f'{{"{key}": "\\ud800", "\\udfff": 1}}' if key == "unknown" else f'{{"{key}": "\\ud800"}}'
        files: list[Any] = [("image", ("a.jpg", picture())), ("request", (None, document))]
        answer = client.post("/features", files=files)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.headers["content-type"] == "application/problem+json"

    def test_a_form_that_is_cut_off_is_no_shorter_form(self, client: httpx.Client) -> None:
        files = [("image", (f"{n}.jpg", picture(seed=n), "image/jpeg")) for n in range(2)]
        whole = client.build_request("POST", "/features", files=files)
        body = whole.read()
        kind = {"Content-Type": whole.headers["content-type"]}
        assert list(read(client.post("/features", content=body, headers=kind))[1]) == ["0/res5", "1/res5"]
        document = problem(client.post("/features", content=body[:-1000], headers=kind), 400, "bad_request")
        assert "cut off" in document["detail"]

    def test_thousands_of_faults_are_a_short_answer(self, client: httpx.Client) -> None:
        query = "&".join(f"{n:x}" for n in range(10_000))
        answer = client.post(f"/features?{query}", content=picture(), headers={"Content-Type": "image/jpeg"})
        problem(answer, 422, "invalid_document")
        assert len(answer.content) < len(query)

    def test_the_service_is_as_before(self, client: httpx.Client) -> None:
        read(ask(client, picture()))


def test_known_tokens_get_the_last_good_models_while_everything_else_is_down_also_after_a_restart(
    house: Any, client: httpx.Client, serve: Callable[[Any], httpx.Client]
) -> None:
    expected = read(ask(client, picture()))[1]["res5"]
    nowhere = {"database_url": "postgresql://nobody@127.0.0.1:1/none", "store_url": "file:///nowhere/at/all"}
    app = make_app(house.settings.model_copy(update=nowhere), ["features"])
    alone = serve(app)
    alone.headers["Authorization"] = client.headers["Authorization"]
    while alone.get("/readyz/features").status_code != 200:
        pass
    (served,) = alone.get("/readyz/features").json()["checks"].values()
    assert served["detail"] == "tiny@production -> tiny:1 on CPUExecutionProvider"
    document, tensors = read(ask(alone, picture()))
    assert (document["model"], document["version"]) == ("tiny", 1)
    np.testing.assert_array_equal(tensors["res5"], expected)
    problem(ask(alone, picture(), model="tiny:7"), 503, "model_unavailable")
    alone.headers["Authorization"] = "Bearer " + "detco_unknown" * 4
    assert ask(alone, picture()).status_code in (401, 503)


class Inside:
    """The application on the test's own event loop, its engine within reach."""

    def __init__(self, app: Any, token: str) -> None:
        self.app = app
        self.token = token
        services: Services = app.state.services
        assert services.features is not None
        self.engine: FeatureEngine = services.features

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Nothing is decoded or computed for as long as the block runs."""
        (loaded,) = self.engine.models.loaded()
        for _ in range(self.engine.models.options.ahead):
            await loaded.ahead.acquire()
        try:
            yield
        finally:
            for _ in range(self.engine.models.options.ahead):
                loaded.ahead.release()

    def begin(self, **query: Any) -> "Call":
        return Call(self, query)


class Call:
    """One request under way, whose caller can hang up."""

    def __init__(self, inside: Inside, query: dict[str, Any]) -> None:
        headers = {"authorization": f"Bearer {inside.token}", "content-type": "image/jpeg"}
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/features",
            "raw_path": b"/features",
            "query_string": str(httpx.QueryParams(query)).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self.sent: list[Any] = []
        self.gone = asyncio.Event()
        self.cut = False
        self.body = [picture()]
        self.task = asyncio.ensure_future(inside.app(self.scope, self.receive, self.send))

    async def receive(self) -> Any:
        if self.body:
            return {"type": "http.request", "body": self.body.pop(), "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if self.cut:
            raise ConnectionError("the line is cut")

    async def status(self) -> int:
        await self.task
        return int(self.sent[0]["status"])

    def header(self, name: str) -> str:
        return str(dict(self.sent[0]["headers"])[name.encode()].decode())


@pytest.fixture
def inside(house: Any, client: httpx.Client, tmp_path: Path) -> Callable[[], Any]:
    @asynccontextmanager
    async def run() -> AsyncIterator[Inside]:
        settings = house.settings.model_copy(update={"max_images_under_way": 5, "max_images": 5})
        app = make_app(settings, ["features"])
        async with app.router.lifespan_context(app):
            held = Inside(app, client.headers["authorization"].removeprefix("Bearer "))
            while not held.engine.models.settled:
                await asyncio.sleep(0.005)
            yield held

    return run


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
class TestUnderLoad:
    async def test_full_is_429_with_a_time_to_come_back(self, inside: Callable[[], Any]) -> None:
        async with inside() as held:
            async with held.stopped():
                calls = [held.begin(pool="avg") for _ in range(5)]
                while held.engine.admission.images < 5:
                    await asyncio.sleep(0.005)
                refused = held.begin()
                assert await refused.status() == 429
                assert 1 <= int(refused.header("retry-after")) <= 30
            assert [await call.status() for call in calls] == [200] * 5
            assert (held.engine.admission.images, held.engine.memory.held) == (0, 0)

    async def test_callers_who_hang_up_cost_no_compute(self, inside: Callable[[], Any]) -> None:
        async with inside() as held:
            (loaded,) = held.engine.models.loaded()
            async with held.stopped():
                calls = [held.begin() for _ in range(5)]
                while held.engine.admission.images < 5:
                    await asyncio.sleep(0.005)
                for call in calls:
                    call.gone.set()
                await asyncio.wait([call.task for call in calls])
                while held.engine.admission.images:
                    await asyncio.sleep(0.005)
                assert held.engine.memory.held == 0
            assert loaded.owner.computed == 0
            assert all(not call.sent for call in calls)
            assert await held.begin().status() == 200

    async def test_a_deadline_is_504(self, inside: Callable[[], Any]) -> None:
        async with inside() as held:
            async with held.stopped():
                assert await held.begin(timeout_ms=20).status() == 504
            assert await held.begin().status() == 200

    async def test_the_memory_of_an_answer_is_given_back_also_when_it_cannot_be_sent(
        self, inside: Callable[[], Any]
    ) -> None:
        async with inside() as held:
            call = held.begin(levels="res2,res5")
            call.cut = True
            with pytest.raises(ConnectionError):
                await call.task
            assert [message["type"] for message in call.sent] == ["http.response.start"]
            assert held.engine.memory.held == 0
