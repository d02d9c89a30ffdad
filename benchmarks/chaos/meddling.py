"""What happens to wake-ups on their way: dropped, tripled, held back so that others overtake them, or let through.

Real messages of the real broker are meddled with: by a proxy in front of Redis, or, for messages in files, where the
sender writes them.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from typing import Any

import redis

from control import broker

FATES = ("dropped", "tripled", "overtaken", "let through")
_SHARES = (3, 3, 3, 1)
_LONGEST = 4.0
"""Seconds a message is held back at most."""


def fate(chance: random.Random) -> str:
    return chance.choices(FATES, _SHARES)[0]


def meddle_with_files(chance: random.Random) -> None:
    """From now on, what this process sends through the files of the embedded broker has a fate."""
    put = broker.Channel._put

    def meddled(channel: broker.Channel, queue: str, payload: Any, **more: Any) -> None:
        match fate(chance):
            case "tripled":
                for _ in range(3):
                    put(channel, queue, payload, **more)
            case "overtaken":
                threading.Timer(chance.uniform(0.2, _LONGEST), put, (channel, queue, payload), more).start()
            case "let through":
                put(channel, queue, payload, **more)

    broker.Channel._put = meddled  # type: ignore[method-assign, assignment]  # the one place a message is written


class Proxy(threading.Thread):
    """Stands in front of Redis; what is pushed onto a list there (as kombu does with a message) has a fate."""

    def __init__(self, redis_port: int, chance: random.Random) -> None:
        super().__init__(name="proxy", daemon=True)
        self._redis_port = redis_port
        self._chance = chance
        self._ready = threading.Event()
        self.port = 0
        self.fates: Counter[str] = Counter()

    def open(self) -> "Proxy":
        """Start, and wait until connections are taken."""
        self.start()
        self._ready.wait()
        return self

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, to_redis = await asyncio.open_connection("127.0.0.1", self._redis_port)
        except OSError:  # Redis was killed
            writer.close()
            return
        ways = [asyncio.create_task(self._ask(reader, to_redis)), asyncio.create_task(_copy(there, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, to_redis):
            end.close()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _ask(self, reader: asyncio.StreamReader, to_redis: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                to_redis.write(_encode(self._meddled(await _read_command(reader))))
                await to_redis.drain()

    def _meddled(self, command: list[bytes]) -> list[bytes]:
        """The command to send instead; its answer must be of the same kind, since somebody waits for it."""
        if command[0].upper() != b"LPUSH":
            return command
        _, queue, message = command
        chosen = fate(self._chance)
        self.fates[chosen] += 1
        if chosen == "let through":
            return command
        if chosen == "tripled":
            return [*command, message, message]
        if chosen == "overtaken":
            delay = self._chance.uniform(0.2, _LONGEST)
            threading.Thread(target=self._push_later, args=(delay, queue, message), daemon=True).start()
        return [b"LLEN", queue]

    def _push_later(self, delay: float, queue: bytes, message: bytes) -> None:
        time.sleep(delay)
        with contextlib.suppress(redis.RedisError), redis.Redis(port=self._redis_port) as client:
            client.lpush(queue, message)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def _read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """One request of the Redis protocol: an array of strings."""
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        length = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(length + 2))[:-2])
    return words


def _encode(command: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
