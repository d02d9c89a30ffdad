"""What the protocol's statistics count: pictures, and the batches they were computed in."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from detco_core.contract.errors import ImageError
from server.features.engine import FeatureEngine
from server.features.limits import EngineLimits
from server.features.oip.requests import InferRequest
from server.features.oip.service import OpenInference
from server.features.oip.tensors import WireTensor
from server.features.schemas import FeatureRequest
from server.features.waiting import Batching

OpenEngine = Callable[..., AbstractAsyncContextManager[FeatureEngine]]
Jpeg = Callable[..., bytes]
RequestOf = Callable[..., FeatureRequest]
TOGETHER = {"batching": Batching(images=4, seconds=120), "ahead": 12}
"""Batches of four, which wait for the fourth."""

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def infer(service: OpenInference, *pictures: bytes) -> None:
    request = InferRequest((WireTensor("image", "BYTES", (len(pictures),), list(pictures)),))
    _, reply = await service.infer(service.target("tiny"), request, None)
    reply.release()


async def stats(service: OpenInference, name: str = "tiny") -> Any:
    return await service.statistics_of(service.target(name), None)


def batches(found: Any) -> dict[int, int]:
    """How many of each size."""
    return {entry["batch_size"]: entry["compute_infer"]["count"] for entry in found["batch_stats"]}


async def test_a_batch_is_one_execution_whoever_sent_its_pictures(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine(**TOGETHER) as engine:
        service = OpenInference(engine)
        await asyncio.gather(infer(service, jpeg(), jpeg()), infer(service, jpeg(), jpeg()))
        found = await stats(service)
        assert (found["inference_count"], found["execution_count"], batches(found)) == (4, 1, {4: 1})
        assert found["inference_stats"]["success"]["count"] == found["inference_stats"]["compute_infer"]["count"] == 2
        (of_four,) = found["batch_stats"]
        whole, shares = of_four["compute_infer"]["ns"], found["inference_stats"]["compute_infer"]["ns"]
        assert abs(whole - shares) < 1000  # of the same seconds, divided and added up again
        assert of_four["compute_input"]["ns"] > 0
        same = replace(request_of(*[jpeg()] * 3, levels=("res2", "res3", "res4", "res5")), pooled=True)
        _, reply = await asyncio.gather(infer(service, jpeg()), engine.infer(same))
        reply.release()
        found = await stats(service)
        assert (found["inference_count"], found["execution_count"], batches(found)) == (5, 2, {4: 2})


async def test_batches_are_forgotten_once_nothing_more_of_them_can_come(
    open_engine: OpenEngine, jpeg: Jpeg, until: Callable[[Callable[[], bool]], None]
) -> None:
    async with open_engine(**TOGETHER) as engine:
        service = OpenInference(engine)
        await infer(service, *[jpeg()] * 4)
        await asyncio.to_thread(until, lambda: not service.statistics._counters["tiny", 1].counted)


async def test_without_batching_a_picture_is_an_execution(open_engine: OpenEngine, jpeg: Jpeg) -> None:
    async with open_engine() as engine:
        service = OpenInference(engine)
        await infer(service, jpeg(), jpeg(), jpeg())
        found = await stats(service)
        assert (found["inference_count"], found["execution_count"], batches(found)) == (3, 3, {1: 3})
        nothing = await stats(service, "tiny_tensor")
        assert (nothing["inference_count"], nothing["execution_count"], nothing["batch_stats"]) == (0, 0, [])


async def test_what_is_remembered_or_fails_is_no_inference(open_engine: OpenEngine, jpeg: Jpeg) -> None:
    async with open_engine(EngineLimits(result_bytes=10**7)) as engine:
        service = OpenInference(engine)
        for _ in range(2):
            await infer(service, jpeg())
        with pytest.raises(ImageError):
            await infer(service, b"no picture")
        found = await stats(service)
        counts = {key: entry["count"] for key, entry in found["inference_stats"].items()}
        assert (counts["success"], counts["fail"], counts["compute_infer"]) == (2, 1, 1)
        assert (found["inference_count"], found["execution_count"], batches(found)) == (1, 1, {1: 1})
