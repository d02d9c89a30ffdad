"""Every call of KServe's clients that concerns us, in their own environment; nothing of ours is imported here.

Usage: calls.py URL GRPC TOKEN MODEL PICTURE OUT. Arrays go to OUT (npz), the rest is printed as JSON.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from grpc_calls import over_grpc  # type: ignore[import-not-found]  # run as a script, beside it
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


def image(data: bytes) -> Any:
    """As KServe takes bytes that are no text: the client itself encodes BYTES as UTF-8."""
    tensor = InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([data], object), binary_data=True)
    return tensor


def pixels(binary: bool) -> Any:
    array = np.random.default_rng(0).integers(0, 256, (1, 3, 50, 70), np.uint8)
    tensor = InferInput("pixels", list(array.shape), "UINT8")
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


async def main(url: str, address: str, token: str, model: str, picture: str, out: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    data = Path(picture).read_bytes()
    found: dict[str, Any] = {}
    arrays: dict[str, Any] = {}

    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=30)) as client:

        async def infer(name: str, tensor: Any, parameters: Any = None, outputs: Any = None) -> Any:
            request = InferRequest(name, [tensor], "mine", parameters=parameters, request_outputs=outputs)
            return await client.infer(url, request, model_name=name, headers=dict(headers))

        found["live"] = await client.is_server_live(url)
        found["ready"] = await client.is_server_ready(url)
        found["model_ready"] = await client.is_model_ready(url, model, headers=dict(headers))
        found["tensor_ready"] = await client.is_model_ready(url, f"{model}_tensor", headers=dict(headers))
        found["other_ready"] = await client.is_model_ready(url, "other", headers=dict(headers))
        binary = {"binary_data_output": True}
        answer = await infer(model, image(data), binary)
        found["id"], found["name"], found["version"] = answer.id, answer.model_name, answer.model_version
        for output in answer.outputs:
            arrays[output.name] = output.as_numpy()
        half = await infer(model, image(data), {"dtype": "float16"})
        arrays["half"] = next(output for output in half.outputs if output.name == "res5").as_numpy()
        for name, one in (("binary", True), ("json", False)):
            answer = await infer(f"{model}_tensor", pixels(one), binary if one else None)
            arrays[name] = next(output for output in answer.outputs if output.name == "res5").as_numpy()
        plain = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [text(data)], **BASE64}]}
        answer = await client.infer(url, plain, model_name=model, headers=dict(headers))
        arrays["base64"] = next(output for output in answer.outputs if output.name == "res5").as_numpy()
        found["errors"] = [await refused(infer(name, image(b"junk"))) for name in (model, "other")]
    found["grpc"], over = await over_grpc(address, token, model, Path(picture))
    np.savez(out, **arrays, **{f"grpc/{name}": array for name, array in over.items()})
    sys.stdout.write(json.dumps(found))


BASE64 = {"parameters": {"content_type": "base64"}}


def text(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


async def refused(call: Any) -> str:
    try:
        await call
    except httpx.HTTPStatusError as error:
        return str(error)
    return "not refused"


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
