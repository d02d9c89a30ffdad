"""Every call of `tritonclient.http` that concerns us, in a process of its own (its gevent patches are not for others).

Usage: triton_calls.py HOST:PORT TOKEN ADMIN PICTURE OUT. Arrays go to OUT (npz), the rest is printed as JSON.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException


def image(data: bytes, *, binary: bool = True) -> Any:
    tensor = triton.InferInput("image", [1], "BYTES")
    return tensor.set_data_from_numpy(np.array([data], object), binary_data=binary)


def main(address: str, token: str, admin: str, picture: str, out: str) -> None:
    # The client writes headers of its own into the mapping it is given, and leaves them there: each call gets a copy.
    ours, theirs = {"Authorization": f"Bearer {token}"}, {"Authorization": f"Bearer {admin}"}
    client = triton.InferenceServerClient(address)
    data = Path(picture).read_bytes()
    found: dict[str, Any] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "server": client.get_server_metadata(headers=dict(ours)),
        "model_ready": client.is_model_ready("tiny", headers=dict(ours)),
        "version_ready": client.is_model_ready("tiny", "1", headers=dict(ours)),
        "other_ready": client.is_model_ready("other", headers=dict(ours)),
        "metadata": client.get_model_metadata("tiny", headers=dict(ours)),
        "tensor_metadata": client.get_model_metadata("tiny_tensor", "1", headers=dict(ours)),
        "config": client.get_model_config("tiny", headers=dict(ours)),
        "index": client.get_model_repository_index(headers=dict(ours)),
    }
    arrays: dict[str, Any] = {}
    outputs = [triton.InferRequestedOutput(name, binary_data=True) for name in ("res5", "pooled")]
    result = client.infer(
        "tiny", [image(data)], outputs=outputs, request_id="mine", headers=dict(ours), timeout=10_000_000
    )
    found["id"], found["version"] = result.get_response()["id"], result.get_response()["model_version"]
    arrays["res5"], arrays["pooled"] = result.as_numpy("res5"), result.as_numpy("pooled")
    arrays["all"] = client.infer("tiny", [image(data)], headers=dict(ours)).as_numpy("res3")
    json_output = [triton.InferRequestedOutput("pooled", binary_data=False)]
    arrays["json"] = client.infer("tiny", [image(data)], outputs=json_output, headers=dict(ours)).as_numpy("pooled")
    packed = client.infer(
        "tiny",
        [image(data)],
        model_version="1",
        headers=dict(ours),
        request_compression_algorithm="gzip",
        response_compression_algorithm="deflate",
    )
    arrays["packed"] = packed.as_numpy("res5")
    classes = [triton.InferRequestedOutput("pooled", class_count=2)]
    found["classes"] = [
        c.decode()
        for c in client.infer("tiny", [image(data)], outputs=classes, headers=dict(ours)).as_numpy("pooled")[0]
    ]
    arrays["aio"] = asyncio.run(asynchronous(address, data, ours))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 50, 70), np.uint8)
    for dtype, name in ((np.uint8, "UINT8"), (np.float32, "FP32")):
        tensor = triton.InferInput("pixels", list(pixels.shape), name).set_data_from_numpy(pixels.astype(dtype))
        arrays[name] = client.infer("tiny_tensor", [tensor], headers=dict(ours)).as_numpy("res4")
    shared(client, pixels, arrays, found, ours)
    found["statistics"] = client.get_inference_statistics("tiny", headers=dict(ours))
    found["errors"] = [
        refused(lambda name=name: client.infer(name, [image(b"junk")], headers=dict(ours))) for name in ("tiny", "no")
    ]
    client.unload_model("tiny", headers=dict(theirs))
    found["unloaded"] = client.is_model_ready("tiny", headers=dict(ours))
    client.load_model("tiny", headers=dict(theirs))
    found["loaded"] = client.is_model_ready("tiny", headers=dict(ours))
    np.savez(out, **arrays)
    sys.stdout.write(json.dumps(found))


async def asynchronous(address: str, data: bytes, headers: dict[str, str]) -> Any:
    """The other client of the same wheel."""
    async with triton_aio.InferenceServerClient(address) as client:
        result = await client.infer("tiny", [image(data)], headers=dict(headers))
        return result.as_numpy("res5")


def name_of(region: str) -> str:
    """Of system shared memory, which all processes of the machine share."""
    return f"/client-{os.getpid()}-{region}"


def shared(client: Any, pixels: Any, arrays: dict[str, Any], found: dict[str, Any], headers: dict[str, str]) -> None:
    """The same in system shared memory, both ways."""
    size, room = pixels.nbytes, 2 * 8 * 4 * 5 * 4
    given, taken = (shm.create_shared_memory_region(n, name_of(n), s) for n, s in (("in", size), ("out", room)))
    try:
        shm.set_shared_memory_region(given, [pixels])
        client.register_system_shared_memory("in", name_of("in"), size, headers=dict(headers))
        client.register_system_shared_memory("out", name_of("out"), room, headers=dict(headers))
        found["regions"] = client.get_system_shared_memory_status(headers=dict(headers))
        tensor = triton.InferInput("pixels", list(pixels.shape), "UINT8")
        tensor.set_shared_memory("in", size)
        output = triton.InferRequestedOutput("res4")
        output.set_shared_memory("out", room)
        result = client.infer("tiny_tensor", [tensor], outputs=[output], headers=dict(headers))
        shape = result.get_output("res4")["shape"]
        arrays["shared"] = shm.get_contents_as_numpy(taken, np.float32, shape).copy()
        client.unregister_system_shared_memory("in", headers=dict(headers))
        client.unregister_system_shared_memory(headers=dict(headers))
        found["no_regions"] = client.get_system_shared_memory_status(headers=dict(headers))
    finally:
        shm.destroy_shared_memory_region(given)
        shm.destroy_shared_memory_region(taken)


def refused(call: Any) -> str:
    try:
        call()
    except InferenceServerException as error:
        return str(error)
    return "not refused"


if __name__ == "__main__":
    main(*sys.argv[1:])
