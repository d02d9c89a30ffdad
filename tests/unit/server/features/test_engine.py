"""The engine under good and bad requests, alone and together: every image on its own, every bound kept."""

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detco_core.contract.errors import ImageError, InvalidDocument
from detco_core.contract.features import ResizeExact
from detco_core.inference import Backbone
from detco_core.inference.pictures.images import Limits
from server.features.allowances import Caller
from server.features.engine import FeatureEngine
from server.features.errors import (
    DeadlineExceeded,
    NoneReadable,
    OtherWeights,
    OverLimit,
    Overloaded,
    ReplyTooLarge,
    Shed,
    UnknownLevel,
)
from server.features.limits import EngineLimits
from server.features.models.catalog import FolderCatalog
from server.features.models.loaded import Loaded
from server.features.schemas import FeatureReply, FeatureRequest, Format

OpenEngine = Callable[..., AbstractAsyncContextManager[FeatureEngine]]
Stopped = Callable[[FeatureEngine], AbstractAsyncContextManager[Loaded]]
Jpeg = Callable[..., bytes]
RequestOf = Callable[..., FeatureRequest]


def arrays(reply: FeatureReply) -> dict[tuple[int, str], np.ndarray]:
    return {(tensor.image, tensor.level): tensor.array for tensor in reply.tensors}


async def turns(count: int = 20) -> None:
    """Let other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_it_answers_what_the_backbone_answers(
    open_engine: OpenEngine, bundles: list[Path], jpeg: Jpeg, request_of: RequestOf
) -> None:
    direct = Backbone(bundles[0], providers=["CPUExecutionProvider"], threads=1)
    levels = ("res2", "res5")
    async with open_engine() as engine:
        for options in (
            {},
            {"pool": "avg"},
            {"dtype": "float16", "normalize": "l2"},
            {"resize": ResizeExact(height=40, width=30)},
        ):
            reply = await engine.infer(request_of(jpeg(), levels=levels, **options))
            expected = direct.features(jpeg(), levels=levels, **options)
            for level in levels:
                np.testing.assert_array_equal(arrays(reply)[0, level], expected.tensors[level])
            facts = reply.images[0].facts
            assert facts is not None
            assert facts.geometry == expected.geometry
            reply.release()
        assert (reply.model.model, reply.model.version) == ("tiny", 1)
        assert reply.model.digest == direct.manifest.weights_digest
        assert reply.model.provider == "CPUExecutionProvider"
        assert min(reply.timings.decode, reply.timings.compute, reply.timings.encode, reply.timings.queue) >= 0
        assert reply.timings.decode > 0
        assert reply.timings.compute > 0
        stages = [reply.timings.decode, reply.timings.queue, reply.timings.compute, reply.timings.encode]
        assert sum(stages) <= reply.total + 1e-9
        moments = reply.images[0].timings.moments
        assert [stage for stage, *_ in moments][-4:] == ["decode", "queue", "compute", "encode"]
        assert all(begin <= end for _, begin, end in moments)
        assert all(end <= begin for (_, _, end), (_, begin, _) in pairwise(moments))
        assert (engine.memory.held, engine.admission.images) == (0, 0)


async def test_one_broken_image_fails_alone(open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf) -> None:
    good = [jpeg(60 + n, 40 + n, seed=n) for n in range(3)]
    async with open_engine() as engine:
        alone = [arrays(await engine.infer(request_of(image)))[0, "res5"] for image in good]
        reply = await engine.infer(request_of(good[0], b"text", good[1], good[2][:200], good[2]))
        assert [image.error is None for image in reply.images] == [True, False, True, False, True]
        for index, expected in zip((0, 2, 4), alone, strict=True):
            np.testing.assert_array_equal(arrays(reply)[index, "res5"], expected)
        assert isinstance(reply.images[1].error, ImageError)
        assert reply.images[1].error.code == "unsupported"
        assert isinstance(reply.images[3].error, ImageError)
        assert reply.images[3].error.code == "unreadable"


async def test_only_broken_images_are_no_answer(open_engine: OpenEngine, request_of: RequestOf) -> None:
    async with open_engine() as engine:
        with pytest.raises(ImageError):
            await engine.infer(request_of(b"text"))
        with pytest.raises(NoneReadable) as caught:
            await engine.infer(request_of(b"text", b"\xff\xd8\xff"))
        assert len(caught.value.errors) == 2


async def test_corrupt_images_among_good_ones_from_many_callers(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    good = [jpeg(40 + n, 50, seed=n) for n in range(6)]
    async with open_engine(EngineLimits(under_way=200)) as engine:
        alone = [arrays(await engine.infer(request_of(image)))[0, "res5"] for image in good]

        async def one(n: int) -> bool:
            if n % 4 == 3:
                with pytest.raises(ImageError):
                    await engine.infer(request_of(random.Random(n).choice([b"", b"text", good[0][: 100 + n]])))
                return False
            reply = await engine.infer(request_of(good[n % 6]))
            np.testing.assert_array_equal(arrays(reply)[0, "res5"], alone[n % 6])
            reply.release()
            return True

        answers = await asyncio.gather(*(one(n) for n in range(80)))
        assert sum(answers) == 60
        assert (engine.memory.held, engine.admission.images) == (0, 0)


async def test_full_is_refused_and_the_rest_is_answered(
    open_engine: OpenEngine, stopped: Stopped, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine(EngineLimits(under_way=4)) as engine:
        async with stopped(engine):
            waiting = [asyncio.ensure_future(engine.infer(request_of(jpeg()))) for _ in range(10)]
            await turns()
            refused = [task for task in waiting if task.done()]
            assert len(refused) == 6
            for task in refused:
                assert isinstance(task.exception(), Overloaded)
            with pytest.raises(Overloaded):
                engine.admission.check()
        answered = await asyncio.gather(*waiting, return_exceptions=True)
        assert sum(isinstance(answer, FeatureReply) for answer in answered) == 4
        engine.admission.check()


async def test_who_hangs_up_costs_no_compute(
    open_engine: OpenEngine, stopped: Stopped, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine(EngineLimits(under_way=100)) as engine:
        async with stopped(engine) as loaded:
            before = loaded.owner.computed
            left = [asyncio.ensure_future(engine.infer(request_of(jpeg()))) for _ in range(60)]
            await turns()
            assert engine.admission.images == 60
            for task in left:
                task.cancel()
            await asyncio.wait(left)
            assert (engine.admission.images, engine.memory.held) == (0, 0)
        (await engine.infer(request_of(jpeg()))).release()
        assert loaded.owner.computed == before + 1


async def test_what_is_alone_changes_threads_once_and_one_decoder_at_a_time_computes(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engine() as engine:
        (loaded,) = engine.models.loaded()
        stage, threads = loaded.session.stage, list[str]()

        def noting(arrays: Sequence[NDArray[np.float32]], outputs: Sequence[str]) -> Any:
            threads.append(threading.current_thread().name.partition("_")[0])
            return stage(arrays, outputs)

        monkeypatch.setattr(loaded.session, "stage", noting)
        await engine.infer(request_of(jpeg()))
        with engine._threads.computing:
            await engine.infer(request_of(jpeg()))
        assert threads == ["decode", "compute-tiny:1"]


async def test_bulk_waits_behind_and_gives_its_place_to_interactive_requests(
    open_engine: OpenEngine, stopped: Stopped, jpeg: Jpeg, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engine(EngineLimits(under_way=6, bulk=4), ahead=1) as engine:
        computed: list[int] = []
        """Heights, by which requests are told apart, in the order they are computed in."""

        async def ask(height: int, **options: Any) -> FeatureReply:
            return await engine.infer(request_of(jpeg(), resize=ResizeExact(height=height, width=32), **options))

        async with stopped(engine) as loaded:
            stage = loaded.session.stage

            def noting(arrays: Sequence[NDArray[np.float32]], outputs: Sequence[str]) -> Any:
                computed.append(arrays[0].shape[2])
                return stage(arrays, outputs)

            monkeypatch.setattr(loaded.session, "stage", noting)
            before = loaded.owner.computed
            bulk = [asyncio.ensure_future(ask(40 + n, priority="bulk")) for n in range(6)]
            await turns()
            late = [task for task in bulk if task.done()]
            assert len(late) == 2
            assert {type(task.exception()) for task in late} == {Overloaded}
            interactive = [asyncio.ensure_future(ask(50 + n)) for n in range(5)]
            await turns()
            shed = [task for task in bulk if task.done() and isinstance(task.exception(), Shed)]
            assert len(shed) == 3
            assert engine.admission.images == 6
        await asyncio.gather(bulk[0], *interactive)
        assert computed == [50, 51, 52, 53, 54, 40]
        assert loaded.owner.computed == before + 6
        assert (engine.admission.images, engine.admission.shed) == (0, 3)
        assert (await ask(40, priority="bulk")).tensors


async def test_a_token_is_bounded_in_images_and_pixels_and_others_are_not(
    open_engine: OpenEngine, stopped: Stopped, jpeg: Jpeg, request_of: RequestOf
) -> None:
    me = Caller(token="me", name="me", images=2, pixels_per_second=5000)
    other = Caller(token="other", name="other")

    def of(caller: Caller, *images: bytes, **options: Any) -> FeatureRequest:
        return replace(request_of(*images, **options), caller=caller)

    async with open_engine() as engine:
        engine.allowances._clock = lambda: 0.0  # time pays no debts here
        async with stopped(engine):
            waiting = [asyncio.ensure_future(engine.infer(of(me, jpeg()))) for _ in range(2)]
            await turns()
            with pytest.raises(OverLimit) as caught:
                engine.check(me)
            assert caught.value.limit == "images"
            engine.check(other)
        await asyncio.gather(*waiting)
        with pytest.raises(InvalidDocument, match="may have 2 under way"):
            await engine.infer(of(me, jpeg(), jpeg(), jpeg()))
        with pytest.raises(OverLimit) as caught:
            await engine.infer(of(me, jpeg()))
        assert caught.value.limit == "pixels_per_second"
        engine.allowances._account(me).debt = 0.0
        # 60 pixels are brought, and four thousand times as many asked for.
        await engine.infer(of(me, jpeg(10, 6), resize=ResizeExact(height=480, width=512)))
        with pytest.raises(OverLimit) as caught:
            engine.check(me)
        assert caught.value.retry_after > 40
        await engine.infer(of(other, jpeg(), jpeg(), jpeg()))
        assert engine.admission.images == 0


async def test_a_deadline_is_an_answer(
    open_engine: OpenEngine, stopped: Stopped, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine() as engine:
        async with stopped(engine) as loaded:
            before = loaded.owner.computed
            with pytest.raises(DeadlineExceeded, match="timeout_ms=20"):
                await engine.infer(request_of(jpeg(), timeout_ms=20))
        assert loaded.owner.computed == before
        assert (engine.admission.images, engine.memory.held) == (0, 0)


async def test_nothing_is_computed_for_what_can_be_refused_before(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine() as engine:
        (loaded,) = engine.models.loaded()
        before = loaded.owner.computed
        with pytest.raises(OtherWeights, match=loaded.version.digest):
            await engine.infer(request_of(jpeg(), expect_digest="sha256:other"))
        with pytest.raises(UnknownLevel, match="res2, res3, res4, res5"):
            await engine.infer(request_of(jpeg(), levels=("res9",)))
        with pytest.raises(ReplyTooLarge) as caught:
            await engine.infer(request_of(jpeg(), max_values=10))
        assert caught.value.format_only
        assert loaded.owner.computed == before
        reply = await engine.infer(request_of(jpeg(), expect_digest=loaded.version.digest, max_values=60))
        assert reply.tensors[0].array.size == 60


async def test_an_answer_is_bounded_over_all_its_images(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine(EngineLimits(reply_bytes=500)) as engine:
        assert (await engine.infer(request_of(jpeg(), jpeg()))).tensors[0].array.nbytes == 240
        with pytest.raises(ReplyTooLarge, match="pool=avg") as caught:
            await engine.infer(request_of(jpeg(), jpeg(), jpeg()))
        assert not caught.value.format_only
        (await engine.infer(request_of(*[jpeg()] * 10, pool="avg"))).release()


async def test_regions_are_bounded_by_what_it_takes_to_make_them(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    """However small their vectors are."""
    async with open_engine(EngineLimits(grid_values=10 * 49)) as engine:
        box = (1.0, 1.0, 20.0, 20.0)
        reply = await engine.infer(request_of(jpeg(), boxes=((box,),), pool="avg"))
        assert reply.tensors[0].array.shape == (1, 10)
        for more in ({"boxes": ((box, box),)}, {"boxes": ((box,),), "roi_size": 8}):
            with pytest.raises(ReplyTooLarge, match="fewer boxes") as caught:
                await engine.infer(request_of(jpeg(), pool="avg", **more))
            assert not caught.value.format_only


async def test_answers_that_nobody_reads_hold_back_others(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine(EngineLimits(held_bytes=500)) as engine:
        held = [await engine.infer(request_of(jpeg())) for _ in range(2)]
        with pytest.raises(Overloaded):
            await engine.infer(request_of(jpeg()))
        held.pop().release()
        (await engine.infer(request_of(jpeg()))).release()
        held.clear()
        assert engine.memory.held == 0


async def test_what_the_form_of_an_answer_copies_is_held_before_it_costs_compute(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine(EngineLimits(held_bytes=5000, reply_bytes=600)) as engine:
        (loaded,) = engine.models.loaded()
        as_text = replace(request_of(jpeg(), jpeg()), format=Format(bytes_per_value=30))
        reply = await engine.infer(as_text)
        assert engine.memory.held == 2 * 60 * (4 + 30)
        before = loaded.owner.computed
        with pytest.raises(Overloaded):
            await engine.infer(as_text)
        assert loaded.owner.computed == before
        reply.release()
        assert engine.memory.held == 0


async def test_no_request_has_more_images_than_are_taken(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine(EngineLimits(images=2)) as engine:
        with pytest.raises(InvalidDocument, match="at most 2"):
            await engine.infer(request_of(*[jpeg()] * 3))
        (await engine.infer(request_of(*[jpeg()] * 2))).release()
        assert (engine.memory.held, engine.admission.images) == (0, 0)


async def test_memory_that_comes_back_late_is_given_to_the_system_too(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    async with open_engine() as engine:
        reply = await engine.infer(request_of(jpeg()))
        looked = engine._heap._computed()
        assert engine._heap._computed() == looked
        reply.release()
        assert engine._heap._computed() != looked


async def test_limits_of_one_image_are_that_images_error(
    open_engine: OpenEngine, jpeg: Jpeg, request_of: RequestOf
) -> None:
    limits = EngineLimits(image=Limits(pixels=5000), network_pixels=10_000)
    async with open_engine(limits) as engine:
        reply = await engine.infer(request_of(jpeg(), jpeg(100, 100)))
        assert [getattr(image.error, "code", None) for image in reply.images] == [None, "too_large"]
        with pytest.raises(ImageError, match="network"):
            await engine.infer(request_of(jpeg(), resize=ResizeExact(height=200, width=200)))


async def test_every_answer_is_of_one_version_while_the_alias_moves(
    open_engine: OpenEngine, catalog: FolderCatalog, bundles: list[Path], jpeg: Jpeg, request_of: RequestOf
) -> None:
    versions = list(catalog.bundles)
    images = [jpeg(50 + n, 40, seed=n) for n in range(4)]
    expected = {}
    for number, bundle in enumerate(bundles, start=1):
        direct = Backbone(bundle, providers=["CPUExecutionProvider"], threads=1)
        expected[number] = [direct.features(image).tensors["res5"] for image in images]
    async with open_engine(EngineLimits(under_way=1000)) as engine:
        over = asyncio.Event()
        seen: set[int] = set()

        async def ask() -> int:
            count = 0
            while not over.is_set():
                reply = await engine.infer(request_of(*images))
                seen.add(reply.model.version)
                for index in range(4):
                    np.testing.assert_array_equal(arrays(reply)[index, "res5"], expected[reply.model.version][index])
                reply.release()
                count += 1
            return count

        askers = [asyncio.ensure_future(ask()) for _ in range(4)]
        for swap in range(12):
            version = versions[swap % 3]
            await asyncio.to_thread(engine.models.ensure, "tiny", version.number, 30)
            catalog.aliases["tiny@production"] = version
            await asyncio.to_thread(engine.models.refresh)
            reply = await engine.infer(request_of(images[0]))
            assert reply.model.version == version.number
        over.set()
        assert min(await asyncio.gather(*askers)) > 0
        assert seen == {1, 2, 3}


async def test_models_come_and_go_under_load_within_their_bound(
    open_engine: OpenEngine, catalog: FolderCatalog, bundles: list[Path], jpeg: Jpeg, request_of: RequestOf
) -> None:
    for number in range(4, 9):
        catalog.add("tiny", number, bundles[number % 3])
    expected = [
        Backbone(bundle, providers=["CPUExecutionProvider"]).features(jpeg()).tensors["res5"] for bundle in bundles
    ]
    # Of three: each holds its weights twice, `res5` alone needing no more than a part of the network.
    room = 6 * (bundles[0] / "model.onnx").stat().st_size
    async with open_engine(EngineLimits(under_way=1000), max_loaded=100, max_bytes=room) as engine:

        async def ask(number: int) -> None:
            reply = await engine.infer(request_of(jpeg(), model=f"tiny:{number}", timeout_ms=600_000))
            assert reply.model.version == number
            which = number - 1 if number <= 3 else number % 3
            np.testing.assert_array_equal(arrays(reply)[0, "res5"], expected[which])

        numbers = random.Random(0).choices(range(1, 9), k=150)
        await asyncio.gather(*map(ask, numbers))
        await asyncio.to_thread(engine.models.refresh)
        held = engine.models.loaded()
        assert sum(model.bytes for model in held) <= room
        assert "tiny:1" in [str(model.version) for model in held]


async def test_the_probe_goes_the_whole_way(
    open_engine: OpenEngine, stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engine(EngineLimits(under_way=1, held_bytes=1)) as engine:
        (loaded,) = engine.models.loaded()
        before = loaded.owner.computed
        assert await engine.probe(30) == []
        assert loaded.owner.computed == before + 1
        with monkeypatch.context() as broken:
            broken.setattr("server.features.job.finish", lambda *_: 1 / 0)
            assert await engine.probe(30) == ["tiny:1 fails: division by zero"]
        async with stopped(engine):
            assert await engine.probe(0.02) == ["tiny:1 does not answer"]
        loaded.owner.close()
        loaded.owner._thread.join(30)
        assert await engine.probe(0.02) == ["tiny:1 does not answer"]


async def test_however_many_ask_at_once_one_picture_is_sent(open_engine: OpenEngine, stopped: Stopped) -> None:
    async with open_engine() as engine:
        (loaded,) = engine.models.loaded()
        before = loaded.owner.computed
        async with stopped(engine):
            asked = [asyncio.ensure_future(engine.probe(30)) for _ in range(50)]
            await asyncio.sleep(0)
            asked.pop().cancel()  # who leaves takes nobody with him
        assert await asyncio.gather(*asked) == [[]] * 49
        assert loaded.owner.computed == before + 1
        assert await engine.probe(30) == []
        assert loaded.owner.computed == before + 2


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio
