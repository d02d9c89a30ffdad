"""Remembered results: the same numbers, for the same question of the same model only, within their room."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from control.errors import Forbidden
from detco_core.contract.errors import ImageError
from detco_core.contract.features import ResizeExact
from detco_core.inference.numbers import Cast
from detco_core.inference.pictures.images import Size
from detco_core.inference.pictures.preprocess import Geometry
from server.features.engine import FeatureEngine
from server.features.errors import OtherWeights, ReplyTooLarge
from server.features.limits import EngineLimits
from server.features.results import Results
from server.features.schemas import FeatureReply, FeatureRequest, ImageFacts, ImagePart, Tensor

OpenEngine = Callable[..., AbstractAsyncContextManager[FeatureEngine]]
Jpeg = Callable[..., bytes]
RequestOf = Callable[..., FeatureRequest]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


LIMITS = EngineLimits(result_bytes=2**20)
ANY = Size(1, 1)
FACTS = ImageFacts("PNG", 1, Geometry(ANY, ANY, ANY, ANY), None, animated=False)


def tensors(reply: FeatureReply) -> list[tuple[int, str, bytes]]:
    return [(tensor.image, tensor.level, tensor.array.tobytes()) for tensor in reply.tensors]


def tensor(size: int, value: int = 0) -> tuple[Tensor, ...]:
    return (Tensor(0, "res5", 32, np.full(size, value, np.int8), Cast()),)


async def test_the_same_question_is_computed_once(open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf) -> None:
    boxes = (((1.0, 1.0, 30.0, 30.0),), ((1.0, 1.0, 30.0, 30.0), (2.0, 2.0, 9.0, 9.0)))
    async with open_engine(LIMITS) as engine:
        first = await engine.infer(request_of(jpeg(), jpeg(seed=1), boxes=boxes, levels=("res3", "res5")))
        again = await engine.infer(request_of(jpeg(), jpeg(seed=1), boxes=boxes, levels=("res3", "res5")))
        assert (first.cached, again.cached) == (0, 2)
        assert again.timings.compute == 0
        assert tensors(again) == tensors(first)
        assert [image.facts for image in again.images] == [image.facts for image in first.images]
        turned = await engine.infer(request_of(jpeg(seed=1), jpeg(), boxes=boxes[::-1], levels=("res3", "res5")))
        assert turned.cached == 2
        assert tensors(turned)[0] == (0, *tensors(first)[2][1:])
        assert engine.results is not None
        assert 0 < engine.results.bytes <= LIMITS.result_bytes


@pytest.mark.parametrize(
    "change",
    [
        {"model": "tiny:2"},
        {"levels": ("res4",)},
        {"levels": ("res5", "res4")},
        {"pool": "avg"},
        {"pool": "gem"},
        {"pool": "gem", "gem_p": 2.0},
        {"dtype": "float16"},
        {"normalize": "l2"},
        {"boxes": (((0.0, 0.0, 9.0, 9.0),),)},
        {"boxes": (((0.0, 0.0, 9.0, 9.0),),), "roi_size": 3},
        {"resize": "none"},
        {"resize": ResizeExact(height=40, width=30)},
        {"orientation": "ignore"},
    ],
)
async def test_another_question_is_another_answer(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf, change: dict[str, Any]
) -> None:
    async with open_engine(LIMITS) as engine:
        for _ in range(2):
            await engine.infer(request_of(jpeg()))
        assert (await engine.infer(request_of(jpeg(), **change))).cached == 0
        assert (await engine.infer(request_of(jpeg(71), **change))).cached == 0
        assert (await engine.infer(request_of(jpeg(), **change))).cached == 1
        if "boxes" not in change:
            assert (await engine.infer(replace(request_of(jpeg(), **change), pooled=True))).cached == 0


async def test_what_changes_no_number_asks_the_same(open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf) -> None:
    async with open_engine(LIMITS) as engine:
        digest = (await engine.infer(request_of(jpeg()))).model.digest
        options: dict[str, Any] = {"model": "tiny:1", "expect_digest": digest, "timeout_ms": 9000, "priority": "bulk"}
        assert (await engine.infer(request_of(jpeg(), **options))).cached == 1


async def test_rights_digests_and_bounds_come_first(open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf) -> None:
    async with open_engine(LIMITS) as engine:
        await engine.infer(request_of(jpeg()))
        with pytest.raises(Forbidden):
            await engine.infer(replace(request_of(jpeg()), only_models=["other"]))
        with pytest.raises(OtherWeights):
            await engine.infer(request_of(jpeg(), expect_digest="sha256:0"))
        with pytest.raises(ReplyTooLarge):
            await engine.infer(request_of(jpeg(), max_values=5))
        assert engine.admission.images == 0


async def test_what_went_wrong_is_tried_again(open_engine: OpenEngine, request_of: RequestOf) -> None:
    async with open_engine(LIMITS) as engine:
        for _ in range(2):
            with pytest.raises(ImageError):
                await engine.infer(request_of(b"text"))
        assert engine.results is not None
        assert engine.results.bytes == 0


async def test_a_model_that_was_opened_anew_is_asked_again(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine(LIMITS) as engine:
        await engine.infer(request_of(jpeg()))
        engine.models.withhold("tiny", withheld=True)
        engine.models.ensure("tiny", 1, 30)
        assert (await engine.infer(request_of(jpeg(), model="tiny:1"))).cached == 0


async def test_pixels_are_told_apart_by_type_and_shape(open_engine: OpenEngine, request_of: RequestOf) -> None:
    def request(pixels: np.ndarray) -> FeatureRequest:
        return replace(request_of(), images=(ImagePart(pixels),))

    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 32), np.uint8)
    async with open_engine(LIMITS) as engine:
        assert (await engine.infer(request(pixels))).cached == 0
        assert (await engine.infer(request(pixels.reshape(3, 32, 40)))).cached == 0
        assert (await engine.infer(request(pixels.astype(np.float32)))).cached == 0
        assert (await engine.infer(request(pixels.transpose(0, 2, 1)))).cached == 0
        assert (await engine.infer(request(np.asfortranarray(pixels)))).cached == 1


def test_the_latest_used_stay_within_the_room() -> None:
    results = Results(50_000)
    for key in range(5):
        results.put(key, FACTS, tensor(6000, key))
        assert results.get(0) is not None
    assert [results.get(key) is not None for key in range(5)] == [True, False, True, True, True]
    assert results.bytes <= 50_000
    results.put("large", FACTS, tensor(12_000))
    assert results.get("large") is None
    results.put(4, FACTS, tensor(6000, 7))
    assert results.bytes <= 50_000
    found = results.get(4)
    assert found is not None
    assert found.tensors[0].array[0] == 7


def test_what_is_remembered_is_nobody_elses_to_change() -> None:
    results, given = Results(2**20), tensor(100, 1)
    results.put("key", FACTS, given)
    given[0].array[:] = 9
    found = results.get("key")
    assert found is not None
    assert set(found.tensors[0].array.tolist()) == {1}
    with pytest.raises(ValueError, match="read-only"):
        found.tensors[0].array[0] = 2
    assert found.at(5)[0].image == 5
