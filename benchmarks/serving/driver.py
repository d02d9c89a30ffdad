"""Puts load on a server, from a process of its own, so that what it costs counts for nobody.

    python -m benchmarks.serving.driver

A line of its input is one `Load` or `Abandon` as JSON; the line it answers is JSON, a list of `Answer`.
"""

import hashlib
import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.machine import ROOT
from benchmarks.serving.answers import Answer
from benchmarks.serving.bare import LENGTH_HEADER, LEVEL
from benchmarks.serving.target import Target

_BOUNDARY = "benchmarks-serving-boundary"
_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Load:
    """Callers who each send the next picture of the list as soon as they have an answer, until all are sent.

    A `gate` of pictures is sent together: the next one opens when every caller is back.
    """

    target: Target
    pictures: list[str]
    """Paths."""
    callers: int = 1
    seconds: float | None = None
    """Go round the list until then, instead of once."""
    rounds: bool = False
    """Callers wait for each other before every picture."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Callers who send a picture each, wait a moment, and hang up all together."""

    target: Target
    pictures: list[str]
    callers: int
    after: float
    """Seconds."""


class Driver:
    """Asks that process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def load(self, load: Load) -> list[Answer]:
        return self._ask("load", load)

    def abandon(self, abandon: Abandon) -> None:
        """Returns when the last has hung up."""
        self._ask("abandon", abandon)

    def start(self, load: Load) -> Callable[[], list[Answer]]:
        """Begin a load; what is returned waits for its answers. Nothing else may be asked meanwhile."""
        self._send("load", load)
        return self._receive

    def _ask(self, kind: str, task: Load | Abandon) -> list[Answer]:
        self._send(kind, task)
        return self._receive()

    def _send(self, kind: str, task: Load | Abandon) -> None:
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        self._process.stdin.write(json.dumps({"kind": kind, **asdict(task)}) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> list[Answer]:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that drives the load has ended; see its message above")
        return [Answer(**answer) for answer in json.loads(line)]


@contextmanager
def driver() -> Iterator[Driver]:
    """One that ends with the block."""
    command = [sys.executable, "-m", "benchmarks.serving.driver"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield Driver(process)
        finally:
            process.kill()


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        task["target"] = Target(**task["target"])
        answers = _load(Load(**task)) if task.pop("kind") == "load" else _abandon(Abandon(**task))
        print(json.dumps([asdict(answer) for answer in answers]), flush=True)


def _load(load: Load) -> list[Answer]:
    pictures = {path: Path(path).read_bytes() for path in set(load.pictures)}
    queue = _Queue(load.pictures, load.seconds)
    gate = threading.Barrier(load.callers) if load.rounds else None

    def call(_: int) -> list[tuple[int, Answer]]:
        answers = []
        caller = _caller(load.target)
        while (taken := queue.take(gate)) is not None:
            answers.append((taken[0], caller.send(taken[1], pictures[taken[1]])))
        caller.close()
        return answers

    with ThreadPoolExecutor(load.callers) as threads:
        by_caller = list(threads.map(call, range(load.callers)))
    return [answer for _, answer in sorted(pair for answers in by_caller for pair in answers)]


def _abandon(abandon: Abandon) -> list[Answer]:
    picture = Path(abandon.pictures[0]).read_bytes()
    lines = []
    for _ in range(abandon.callers):
        line = http.client.HTTPConnection(abandon.target.host, abandon.target.port, timeout=_PATIENCE)
        body, headers = _body(abandon.target, picture)
        line.request("POST", abandon.target.path, body, headers)
        lines.append(line)
    time.sleep(abandon.after)
    for line in lines:
        line.close()
    return []


class _Queue:
    """Pictures that are left to send."""

    def __init__(self, pictures: Sequence[str], seconds: float | None) -> None:
        self._pictures = pictures
        self._give_up = None if seconds is None else time.monotonic() + seconds
        self._lock = threading.Lock()
        self._next = 0

    def take(self, gate: threading.Barrier | None) -> tuple[int, str] | None:
        if gate is not None:
            gate.wait()
        with self._lock:
            number = self._next
            self._next += 1
        if self._give_up is None:
            return (number, self._pictures[number]) if number < len(self._pictures) else None
        return (number, self._pictures[number % len(self._pictures)]) if time.monotonic() < self._give_up else None


class _Sends(Protocol):
    def send(self, path: str, picture: bytes) -> Answer: ...

    def close(self) -> None: ...


def _caller(target: Target) -> _Sends:
    if target.form not in ("grpc", "stream"):
        return Caller(target)
    # Peers' environments and most figures do without.
    from benchmarks.serving.grpc_caller import GrpcCaller

    return GrpcCaller(target)


class Caller:
    """One connection that is kept."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._line = http.client.HTTPConnection(target.host, target.port, timeout=_PATIENCE)

    def send(self, path: str, picture: bytes) -> Answer:
        body, headers = _body(self._target, picture)
        began = time.perf_counter()
        try:
            self._line.request("POST", self._target.path, body, headers)
            response = self._line.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self._line.close()
            return Answer(path, 0, time.perf_counter() - began)
        seconds = time.perf_counter() - began
        length = response.headers.get(LENGTH_HEADER)
        told: dict[str, Any] = _told(content, int(length)) if length is not None else {}
        return Answer(path, response.status, seconds, response.headers.get("Retry-After"), **told)

    def close(self) -> None:
        self._line.close()


def _told(content: bytes, length: int) -> dict[str, Any]:
    document = json.loads(content[:length])
    return {"version": document.get("version"), "digest": hashlib.sha256(content[length:]).hexdigest()}


def _body(target: Target, picture: bytes) -> tuple[bytes, dict[str, str]]:
    if target.form == "raw":
        return picture, target.headers
    if target.form == "v2":
        return _tensors(target, picture)
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{target.part}"; filename="picture.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return body, target.headers | {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


def _tensors(target: Target, picture: bytes) -> tuple[bytes, dict[str, str]]:
    """The protocol's binary form."""
    element = struct.pack("<I", len(picture)) + picture
    given = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(element)}}
    wanted = {"name": LEVEL, "parameters": {"binary_data": True}}
    document = json.dumps({"inputs": [given], "outputs": [wanted], "parameters": target.parameters}).encode()
    return document + element, target.headers | {LENGTH_HEADER: str(len(document))}


if __name__ == "__main__":
    # What connects to a server of this machine needs no small packets held back.
    socket.setdefaulttimeout(_PATIENCE)
    main()
