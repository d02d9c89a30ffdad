"""Every call of `tritonclient.grpc` that concerns us, and calls no client would make, in a process of its own.

Usage: grpc_calls.py HOST:PORT TOKEN ADMIN PICTURE OUT. Arrays go to OUT (npz), the rest is printed as JSON.
Or: grpc_calls.py HOST:PORT TOKEN PICTURE, for one call that takes a while: a line when it is sent, then its status, and
what who watches the server's health has learned meanwhile.
"""

import asyncio
import json
import os
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.grpc import service_pb2 as wire
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

Headers = dict[str, str]
SERVING = b"\x08\x01"
"""The standard health service's answer."""


LARGE = {"resize": '{"height": 2400, "width": 2300}'}


def image(data: bytes) -> Any:
    return triton.InferInput("image", [1], "BYTES").set_data_from_numpy(np.array([data], object))


def main(address: str, token: str, admin: str, picture: str, out: str) -> None:
    ours, theirs = {"authorization": f"Bearer {token}"}, {"authorization": f"Bearer {admin}"}
    data = Path(picture).read_bytes()
    with triton.InferenceServerClient(address) as client:
        found = described(client, ours)
        arrays = inferred(client, data, found, ours)
        shared(client, arrays, found, ours)
        found["statistics"] = client.get_inference_statistics("tiny", headers=ours, as_json=True)
        found["all_statistics"] = client.get_inference_statistics(headers=ours, as_json=True)
        found["errors"] = refusals(client, data, ours)
        client.unload_model("tiny", headers=theirs)
        found["unloaded"] = client.is_model_ready("tiny", headers=ours)
        client.load_model("tiny", headers=theirs)
        found["loaded"] = client.is_model_ready("tiny", headers=ours)
        found["stream"] = streamed(client, data, arrays, ours)
    arrays["aio"], found["aio_stream"] = asyncio.run(asynchronous(address, data, ours))
    with grpc.insecure_channel(address) as channel:
        found["raw"] = by_hand(channel, data, arrays, token)
    np.savez(out, **arrays)
    sys.stdout.write(json.dumps(found))


def described(client: Any, headers: Headers) -> dict[str, Any]:
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "server": client.get_server_metadata(headers=headers, as_json=True),
        "model_ready": client.is_model_ready("tiny", headers=headers),
        "version_ready": client.is_model_ready("tiny", "1", headers=headers),
        "other_ready": client.is_model_ready("other", headers=headers),
        "metadata": client.get_model_metadata("tiny", headers=headers, as_json=True),
        "tensor_metadata": client.get_model_metadata("tiny_tensor", "1", headers=headers, as_json=True),
        "config": client.get_model_config("tiny", headers=headers, as_json=True),
        "index": client.get_model_repository_index(headers=headers, as_json=True),
    }


def inferred(client: Any, data: bytes, found: dict[str, Any], headers: Headers) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    outputs = [triton.InferRequestedOutput(name) for name in ("res5", "pooled")]
    result = client.infer(
        "tiny",
        [image(data)],
        outputs=outputs,
        request_id="mine",
        headers=headers,
        timeout=60_000_000,
        client_timeout=59,
    )
    response = result.get_response()
    found["id"], found["version"] = response.id, response.model_version
    repeated = client.infer("tiny", [image(data)], outputs=outputs, headers=headers)
    found["cached"] = [answer.get_response().parameters["cached"].bool_param for answer in (result, repeated)]
    found["provider"] = response.parameters["provider"].string_param
    arrays["res5"], arrays["pooled"] = result.as_numpy("res5"), result.as_numpy("pooled")
    everything = client.infer("tiny", [image(data)], "1", headers=headers, compression_algorithm="gzip")
    arrays["all"] = everything.as_numpy("res3")
    options = {"dtype": "float16", "normalize": "l2", "resize": '{"height": 32, "width": 32}'}
    half = client.infer("tiny", [image(data)], outputs=outputs[:1], parameters=options, headers=headers)
    arrays["half"] = half.as_numpy("res5")
    classes = [triton.InferRequestedOutput("pooled", class_count=2)]
    best = client.infer("tiny", [image(data)], outputs=classes, headers=headers).as_numpy("pooled")
    found["classes"] = [word.decode() for word in best[0]]
    done: list[Any] = []
    ended = threading.Event()

    def note(result: Any, error: Any) -> None:
        done.append(result)
        ended.set()

    client.async_infer("tiny", [image(data)], note, headers=headers)
    ended.wait(60)
    arrays["callback"] = done[0].as_numpy("res5")
    return arrays


def name_of(region: str) -> str:
    """Of system shared memory, which all processes of the machine share."""
    return f"/rpc-{os.getpid()}-{region}"


def shared(client: Any, arrays: dict[str, Any], found: dict[str, Any], headers: Headers) -> None:
    """Pixels, in the message and in system shared memory, both ways."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 50, 70), np.uint8)
    tensor = triton.InferInput("pixels", list(pixels.shape), "FP32").set_data_from_numpy(pixels.astype(np.float32))
    arrays["FP32"] = client.infer("tiny_tensor", [tensor], headers=headers).as_numpy("res4")
    size, room = pixels.nbytes, 2 * 8 * 4 * 5 * 4
    given, taken = (shm.create_shared_memory_region(n, name_of(n), s) for n, s in (("in", size), ("out", room)))
    try:
        shm.set_shared_memory_region(given, [pixels])
        client.register_system_shared_memory("in", name_of("in"), size, headers=headers)
        client.register_system_shared_memory("out", name_of("out"), room, headers=headers)
        found["regions"] = client.get_system_shared_memory_status(headers=headers, as_json=True)
        tensor = triton.InferInput("pixels", list(pixels.shape), "UINT8")
        tensor.set_shared_memory("in", size)
        placed = triton.InferRequestedOutput("res4")
        placed.set_shared_memory("out", room)
        outputs = [placed, triton.InferRequestedOutput("pooled")]
        result = client.infer("tiny_tensor", [tensor], outputs=outputs, headers=headers)
        arrays["shared"] = shm.get_contents_as_numpy(taken, np.float32, list(result.get_output("res4").shape)).copy()
        arrays["beside"] = result.as_numpy("pooled")
        client.unregister_system_shared_memory("in", headers=headers)
        client.unregister_system_shared_memory(headers=headers)
        found["no_regions"] = client.get_system_shared_memory_status(headers=headers, as_json=True)
    finally:
        shm.destroy_shared_memory_region(given)
        shm.destroy_shared_memory_region(taken)


def refusals(client: Any, data: bytes, headers: Headers) -> dict[str, Any]:
    calls: dict[str, Any] = {
        "junk": lambda: client.infer("tiny", [image(b"junk")], headers=headers),
        "other": lambda: client.infer("no", [image(data)], headers=headers),
        "version": lambda: client.infer("tiny", [image(data)], "9", headers=headers),
        "output": lambda: client.infer(
            "tiny", [image(data)], outputs=[triton.InferRequestedOutput("res9")], headers=headers
        ),
        "nobody": lambda: client.get_server_metadata(),
        "unknown": lambda: client.get_server_metadata(headers={"authorization": "Bearer no"}),
        "not admin": lambda: client.load_model("tiny", headers=headers),
        "cuda": lambda: client.get_cuda_shared_memory_status(headers=headers),
        # So large, and never seen before, that no machine has the answer in time; small enough to be taken at all.
        "late": lambda: client.infer("tiny", [image(data)], parameters=LARGE, headers=headers, client_timeout=0.01),
    }
    return {name: refused(call) for name, call in calls.items()}


def refused(call: Any) -> list[str]:
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()).removeprefix("StatusCode."), str(error.message())[:300]]
    return ["not refused", ""]


def streamed(client: Any, data: bytes, arrays: dict[str, Any], headers: Headers) -> dict[str, Any]:
    """A stream with one damaged picture, ended when all is answered; and one of large pictures that is cancelled."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)), headers=dict(headers))
    outputs = [triton.InferRequestedOutput("res5")]
    for n in range(20):
        inputs = [image(b"junk" if n == 7 else data)]
        client.async_stream_infer("tiny", inputs, outputs=outputs, request_id=str(n))
    client.stop_stream()
    given = [answers.get(timeout=60) for _ in range(20)]
    arrays["stream"] = given[-1][0].as_numpy("res5")
    told = [str(error) if result is None else result.get_response().id for result, error in given]
    client.start_stream(lambda result, error: answers.put((result, error)), headers=dict(headers))
    for n in range(20):
        large = {"resize": json.dumps({"height": 1100 + n, "width": 1000})}
        client.async_stream_infer("tiny", [image(data)], outputs=outputs, parameters=large)
    client.stop_stream(cancel_requests=True)
    *_, (_, error) = [answers.get(timeout=60) for _ in range(answers.qsize())]
    return {"told": told, "cancelled": str(error.status())}


async def asynchronous(address: str, data: bytes, headers: Headers) -> Any:
    """The other client of the same wheel."""

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for n in range(5):
            inputs = [image(b"junk" if n == 1 else data)]
            yield {"model_name": "tiny", "inputs": inputs, "request_id": str(n)}

    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        result = await client.infer("tiny", [image(data)], headers=dict(headers))
        answers = client.stream_infer(requests(), headers=dict(headers))
        told = [str(error) if result is None else result.get_response().id async for result, error in answers]
        return result.as_numpy("res5"), told


def by_hand(channel: Any, data: bytes, arrays: dict[str, Any], token: str) -> dict[str, Any]:
    """What no client would send; each answer's status, and the first words of what it says."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    who = (("authorization", f"Bearer {token}"),)
    say = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

    def request(**more: Any) -> Any:
        tensor = wire.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
        return wire.ModelInferRequest(**{"model_name": "tiny", "inputs": [tensor], **more})

    typed = request()
    typed.inputs[0].contents.bytes_contents.append(data)
    answer = stub.ModelInfer(typed, metadata=who)
    arrays["typed"] = np.frombuffer(answer.raw_output_contents[3], np.float32).reshape(list(answer.outputs[3].shape))
    large, bomb = bytes(3 * 2**20), bytes(50 * 2**20)
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    behind = ((*who, ("x-forwarded-for", "10.0.0.1")),)
    return {
        "garbage": told(lambda: say(b"\xff\xff\xff", metadata=(*who, ("x-request-id", "by-hand")))),
        "no contents": told(lambda: stub.ModelInfer(request(), metadata=who)),
        "too many": told(lambda: stub.ModelInfer(request(raw_input_contents=[b"", b"", b""]), metadata=who)),
        "too large": told(lambda: stub.ModelInfer(request(raw_input_contents=[large]), metadata=who)),
        "bomb": told(
            lambda: stub.ModelInfer(request(raw_input_contents=[bomb]), metadata=who, compression=grpc.Compression.Gzip)
        ),
        "behind a proxy": told(
            lambda: stub.SystemSharedMemoryStatus(wire.SystemSharedMemoryStatusRequest(), metadata=behind[0])
        ),
        "health": [healthy(check, name) for name in (b"", b"\x0a\x1einference.GRPCInferenceService")],
        "unhealthy": told(lambda: check(b"\x0a\x01x")),
        "left": left(stub, typed, who),
        "afterwards": told(lambda: stub.ModelInfer(typed, metadata=who)),
    }


def healthy(check: Any, payload: bytes) -> bool:
    """A machine that is busy may take too long for the picture that is sent: then ask again."""
    return any(check(payload) == SERVING for _ in range(20))


def told(call: Any) -> list[str]:
    try:
        call()
    except grpc.RpcError as error:
        return [error.code().name, str(error.details())[:300]]
    return ["OK", ""]


def left(stub: Any, request: Any, who: Any) -> list[str]:
    """Twenty callers with large pictures who hang up at once."""
    calls = []
    for n in range(20):
        request.parameters["resize"].string_param = json.dumps({"height": 1000 + n, "width": 1000})
        calls.append(stub.ModelInfer.future(request, metadata=who))
    time.sleep(0.05)
    return sorted({"cancelled" if call.cancel() else call.code().name for call in calls})


def slow(address: str, token: str, picture: str) -> None:
    with grpc.insecure_channel(address) as channel:
        tensor = wire.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(Path(picture).read_bytes())
        request = wire.ModelInferRequest(model_name="tiny", inputs=[tensor])
        request.parameters["resize"].string_param = json.dumps({"height": 2500, "width": 2500})
        request.outputs.add(name="pooled")
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        grpc.channel_ready_future(channel).result(60)
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        state = next(told for told in watch if told == SERVING)
        call = stub.ModelInfer.future(request, metadata=(("authorization", f"Bearer {token}"),))
        time.sleep(0.05)
        print("under way" if not call.done() else "over", flush=True)  # noqa: T201 - the test reads it
        print(call.code().name)  # noqa: T201
        with suppress(grpc.RpcError):
            while True:
                state = next(watch)
        print(state.hex(), watch.code().name)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    (main if len(sys.argv) == 6 else slow)(*sys.argv[1:])
