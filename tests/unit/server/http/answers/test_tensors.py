"""The end of an answer: what it holds of the memory until it is out, whatever its form and whoever reads it.

That memory is let go at once is CPython's counting of references, as it is for the server.
"""

import asyncio
import gc
import tracemalloc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import zstandard
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message, Scope

from detco_core.inference.numbers import Cast
from detco_core.inference.pictures.images import Size
from detco_core.inference.pictures.preprocess import Geometry
from server.features.errors import Overloaded
from server.features.oip import replies
from server.features.oip.inferred import Inferred
from server.features.oip.requests import InferRequest, OutputWish
from server.features.replies.encode import MEDIA_TYPES, MediaType, encode, format_of
from server.features.replies.encoded import Encoded
from server.features.replies.tensor_files import raw
from server.features.reply_memory import ReplyBytes, Reservation
from server.features.schemas import FeatureReply, ImageFacts, ImageReply, ModelIdentity, Tensor, Timings
from server.http.access import notes
from server.http.answers.tensors import TensorResponse, answer

PLAIN = Encoded("application/octet-stream", [bytes(900), bytes(100)])
MODEL = ModelIdentity("tiny", 1, "sha256:0", "CPUExecutionProvider")
GEOMETRY = Geometry(Size(50, 70), Size(70, 50), Size(35, 25), Size(64, 32))
FACTS = ImageFacts("JPEG", 1, GEOMETRY, None, animated=False)
SLACK = 2**21 + 2**20
"""Bytes of an answer beside its tensors: the slices on their way, its head, and the interpreter's own."""


def request() -> Request:
    return Request({"type": "http", "headers": []})


def reply(memory: ReplyBytes) -> FeatureReply:
    mine = Reservation(memory)
    mine.take(1000)
    return FeatureReply(MODEL, (), 0.0, mine)


async def unread() -> Message:
    """The caller stays, and says nothing."""
    await asyncio.Event().wait()
    raise AssertionError


async def dropped(message: Message) -> None:
    """A reader who takes everything at once."""


@pytest.mark.parametrize("brief", [True, False])
def test_what_is_sent_compressed_is_what_it_holds(brief: bool) -> None:
    memory = ReplyBytes(1500)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        assert memory.held > 0
        sent.append(message)

    async def respond() -> int:
        lay_out = partial(Encoded, PLAIN.media_type, PLAIN.pieces)
        response = await answer(request(), reply(memory), lay_out, "zstd", brief=brief)
        held = memory.held
        await response({"type": "http"}, unread, send)
        return held

    held = asyncio.run(respond())
    body = b"".join(message.get("body", b"") for message in sent)
    assert zstandard.decompress(body) == bytes(1000)
    assert held == len(body) < 1000
    assert memory.held == 0


def test_both_forms_count_while_one_becomes_the_other() -> None:
    memory = ReplyBytes(2500)
    other = Reservation(memory)
    other.take(600)
    with pytest.raises(Overloaded):
        asyncio.run(answer(request(), reply(memory), lambda: PLAIN, "zstd"))
    assert memory.held == 600
    response = asyncio.run(answer(request(), reply(memory), lambda: PLAIN, None))
    assert memory.held == 1600
    assert response.headers["content-length"] == "1000"


def test_what_laying_out_copies_is_counted_before_it_is_made() -> None:
    memory = ReplyBytes(2500)
    other = Reservation(memory)
    other.take(600)

    def lay_out() -> Encoded:
        assert memory.held == 600 + 1000 + 500
        return PLAIN

    asyncio.run(answer(request(), reply(memory), lay_out, None, copied=lambda: 500))
    gc.collect()
    assert memory.held == 600
    with pytest.raises(Overloaded):
        asyncio.run(answer(request(), reply(memory), lay_out, None, copied=lambda: 1000))
    assert memory.held == 600


class Watched(ReplyBytes):
    """Remembers the most that was held."""

    most = 0

    def take(self, count: int, own: int = 0) -> None:
        super().take(count, own)
        self.most = max(self.most, self.held)

    def add(self, count: int) -> None:
        super().add(count)
        self.most = max(self.most, self.held)


def noise(*shape: int) -> np.ndarray:
    """Numbers of many digits, which no coding makes shorter."""
    return (np.random.default_rng(0).random(shape, np.float32) + 1) * np.float32(-1.1e-30)


def features_of(reply_of: FeatureReply, media: MediaType, array: np.ndarray) -> Callable[[], Encoded]:
    # As the engine does, before it computes.
    reply_of.memory.take(array.nbytes + array.size * format_of(media).bytes_per_value)
    tensor = Tensor(0, "res5", 32, array, Cast())
    images = (ImageReply(0, None, Timings(), FACTS, (tensor,)),)
    return partial(encode, FeatureReply(MODEL, images, 0.0, reply_of.memory), media, lambda error: {})


def peak_and_held(shape: tuple[int, ...], media: MediaType, coding: str | None) -> tuple[int, int]:
    """The most memory that an answer of `/features` takes from its tensors' making to its end, and was counted for."""
    memory = Watched(2**40)
    seen: list[int] = []

    async def respond() -> None:
        made = FeatureReply(MODEL, (), 0.0, Reservation(memory))
        tracemalloc.start()
        try:
            lay_out = features_of(made, media, noise(*shape))
            tracemalloc.reset_peak()  # numbers are drawn with copies of their own
            response = await answer(request(), made, lay_out, coding)
            del lay_out
            await response({"type": "http"}, unread, dropped)
            seen.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()

    asyncio.run(respond())
    assert memory.held == 0
    return seen[0], memory.most


@pytest.mark.parametrize("coding", [None, "zstd", "gzip"])
@pytest.mark.parametrize("media", [media for media in MEDIA_TYPES if media != "application/json"])
def test_an_answer_takes_what_is_counted_for_it(media: MediaType, coding: str | None) -> None:
    shape = (1, 2**8, 2**6, 2**6)
    size = 4 * 2**20
    peak, held = peak_and_held(shape, media, coding)
    assert peak <= held + SLACK
    assert held <= (1 if coding is None else 2) * (size + SLACK)


@pytest.mark.parametrize("shape", [(1, 2**15), (2**15, 1, 1, 1), (1, 2**12, 8, 1)])
def test_json_takes_no_more_than_is_counted_for_it(shape: tuple[int, ...]) -> None:
    peak, held = peak_and_held(shape, "application/json", None)
    assert peak <= held + 2**21


@pytest.mark.parametrize(
    ("wish", "shape"),
    [
        (OutputWish("res5"), (1, 2**15)),
        (OutputWish("res5"), (2**12, 2, 2, 2)),
        (OutputWish("res5", binary=True), (1, 2**20)),
        (OutputWish("res5", classification=2), (1, 2**20)),
        (OutputWish("res5", classification=2**15), (1, 2**15)),
        (OutputWish("res5", classification=2**15, binary=True), (1, 2**15)),
        (OutputWish("res5", binary=True), (1, 2**18)),
    ],
)
@pytest.mark.parametrize("int8", [False, True])
def test_so_does_the_open_inference_protocol(wish: OutputWish, shape: tuple[int, ...], int8: bool) -> None:
    memory = Watched(2**40)
    asked = InferRequest((), (wish,))
    seen = []
    tracemalloc.start()
    try:
        inferred = Inferred("tiny", 1, {"res5": noise(*shape)}, {}, int8=int8)
        tracemalloc.reset_peak()
        made = FeatureReply(MODEL, (), 0.0, Reservation(memory))
        made.memory.take(inferred.arrays["res5"].nbytes)
        lay_out = partial(replies.lay_out, asked, inferred, lambda region, data: None)
        asyncio.run(answer(request(), made, lay_out, None, copied=partial(replies.copied, asked, inferred)))
        seen.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert seen[0] <= memory.most + 2**21


@pytest.mark.parametrize("media", MEDIA_TYPES)
def test_what_is_not_sent_is_let_go_before_sending(media: MediaType) -> None:
    async def respond() -> None:
        memory = ReplyBytes(2**40)
        array = noise(1, 2**10)
        arrays = weakref.ref(array)
        made = FeatureReply(MODEL, (), 0.0, Reservation(memory))
        lay_out = features_of(made, media, array)
        response = await answer(request(), made, lay_out, "zstd")
        del lay_out, array, made

        async def send(message: Message) -> None:
            # The thread that compressed lets go of them a moment after it has said that it is done.
            while arrays() is not None:
                await asyncio.sleep(0.001)

        await response({"type": "http"}, unread, send)

    gc.disable()
    try:
        asyncio.run(asyncio.wait_for(respond(), 120))
    finally:
        gc.enable()


@pytest.mark.parametrize("length", [10, 2**22])
def test_a_reader_who_takes_nothing_is_cut_off_and_its_memory_comes_back(
    length: int, caplog: pytest.LogCaptureFixture
) -> None:
    memory = ReplyBytes(2**40)
    mine = Reservation(memory)
    mine.take(length)
    scope: Scope = {"type": "http"}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    response = TensorResponse(Encoded("x/y", [bytes(length)]), mine.release, seconds=0.01)
    asyncio.run(response(scope, unread, send))
    assert memory.held == 0
    assert notes(scope) == {"cause": "slow_reader"}
    assert all(message.get("more_body", True) for message in sent)
    assert "cut off" in caplog.text


def test_any_reader_has_a_minute_and_a_large_answer_more() -> None:
    def seconds(length: int) -> Any:
        return TensorResponse(Encoded("x/y", [memoryview(bytes(length))]), lambda: None)._seconds

    assert 60 <= seconds(10) < 61
    assert seconds(2**24) == 60 + 64


def test_who_has_left_is_sent_nothing_more() -> None:
    memory = ReplyBytes(2**40)
    mine = Reservation(memory)
    mine.take(2**23)
    left = asyncio.Event()
    bodies: list[int] = []

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            bodies.append(len(message["body"]))
            left.set()
            # As a server that waits for its connection, which is gone.
            for _ in range(5):
                await asyncio.sleep(0)

    response = TensorResponse(Encoded("x/y", [bytes(2**23)]), mine.release)
    with pytest.raises(ClientDisconnect):
        asyncio.run(response({"type": "http"}, receive, send))
    assert bodies == [2**20]
    assert memory.held == 0


@pytest.mark.parametrize("slow", [True, False])
def test_a_slow_reader_does_not_keep_the_batch_of_his_picture(slow: bool) -> None:
    """Who takes an eighth of it would hold eight times what is counted for him."""
    wanted = noise(8, 2**20)[3:4].copy()

    async def scene() -> bytes:
        batch = noise(8, 2**20)
        kept = weakref.ref(batch)
        response = TensorResponse(
            Encoded("x/y", [b"head", raw(batch[3:4]), b"tail"]), lambda: None, own_seconds=0 if slow else 3600
        )
        del batch
        sent, gone = [], []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                gone.append(kept() is None)
                sent.append(bytes(message["body"]))
            if slow and len(sent) == 2:
                # The thread that copied lets go of it a moment after it has said that it is done.
                while kept() is not None:
                    await asyncio.sleep(0.001)

        await asyncio.wait_for(response({"type": "http"}, unread, send), 120)
        assert gone[-2:] == [slow, slow]
        return b"".join(sent)

    assert asyncio.run(scene()) == b"head" + wanted.tobytes() + b"tail"


def test_small_pieces_are_sent_together() -> None:
    pieces: list[bytes | memoryview] = [b"a", b"", memoryview(b"bc"), bytes(2**20), b"d"]
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    asyncio.run(TensorResponse(Encoded("x/y", pieces), lambda: None)({"type": "http"}, unread, send))
    assert [len(body) for body in sent] == [0, 3, 2**20, 1, 0]
    assert b"".join(sent) == b"".join(pieces)
