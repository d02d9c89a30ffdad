"""The end of an answer: what it holds of the memory, as it is and compressed, until it is out."""

import asyncio
from functools import partial

import pytest
import zstandard
from fastapi import Request
from starlette.types import Message

from server.features.admission import ReplyBytes, Reservation
from server.features.encode import Encoded
from server.features.errors import Overloaded
from server.features.schemas import FeatureReply, ModelIdentity
from server.http.answers.tensors import answer

PLAIN = Encoded("application/octet-stream", [bytes(900), bytes(100)])
MODEL = ModelIdentity("tiny", 1, "sha256:0", "CPUExecutionProvider")


def request() -> Request:
    return Request({"type": "http", "headers": []})


def reply(memory: ReplyBytes) -> FeatureReply:
    mine = Reservation(memory)
    mine.take(1000)
    return FeatureReply(MODEL, (), 0.0, mine.release, mine.hold)


@pytest.mark.parametrize("brief", [True, False])
def test_what_is_sent_compressed_is_what_it_holds(brief: bool) -> None:
    memory = ReplyBytes(1500)
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        assert memory.held > 0
        sent.append(message)

    async def respond() -> int:
        lay_out = partial(Encoded, PLAIN.media_type, PLAIN.pieces)
        response = await answer(request(), reply(memory), lay_out, "zstd", brief=brief)
        held = memory.held
        await response({"type": "http"}, receive, send)
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
