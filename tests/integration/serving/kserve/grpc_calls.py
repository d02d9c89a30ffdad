"""The same of KServe's gRPC client, and the stock client of the standard health service."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # no types in it
from kserve import InferenceGRPCClient, InferInput, InferRequest


def tensor(name: str, datatype: str, array: Any, raw: bool) -> Any:
    """Its values as raw contents, or as typed ones."""
    made = InferInput(name, list(array.shape), datatype, data=None if raw else array.flatten().tolist())
    if raw:
        made.set_data_from_numpy(array, binary_data=True)
    return made


async def over_grpc(address: str, token: str, model: str, picture: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was said, and arrays by name."""
    headers = (("authorization", f"Bearer {token}"),)
    pictures = np.array([picture.read_bytes()], object)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 50, 70), np.uint8)
    found: dict[str, Any] = {}
    arrays: dict[str, Any] = {}

    async with InferenceGRPCClient(address, timeout=60) as client:

        async def infer(name: str, given: Any, parameters: Any = None) -> Any:
            return await client.infer(InferRequest(name, [given], "mine", parameters=parameters), headers=headers)

        found["live"] = await client.is_server_live()
        found["ready"] = await soon(True, client.is_server_ready)
        for name in (model, f"{model}_tensor", "other"):
            found[f"{name}_ready"] = await client.is_model_ready(name, headers=headers)
        for raw in (True, False):
            answer = await infer(model, tensor("image", "BYTES", pictures, raw))
            found["id"], found["name"], found["version"] = answer.id, answer.model_name, answer.model_version
            arrays |= {f"{kind(raw)}/{output.name}": output.as_numpy() for output in answer.outputs}
            answer = await infer(f"{model}_tensor", tensor("pixels", "UINT8", pixels, raw))
            arrays |= {f"{kind(raw)}/pixels/{output.name}": output.as_numpy() for output in answer.outputs}
        half = await infer(model, tensor("image", "BYTES", pictures, True), {"dtype": "float16"})
        arrays["half"] = next(output for output in half.outputs if output.name == "res5").as_numpy()
        junk = tensor("image", "BYTES", np.array([b"junk"], object), True)
        found["errors"] = [await refused(infer(name, junk)) for name in (model, "other")]
    services = ("", "inference.GRPCInferenceService")
    found["health"] = [await soon("SERVING", partial(health, address, name)) for name in services]
    found["health"].append(await health(address, "other"))
    return found, arrays


async def soon(wanted: Any, ask: Callable[[], Awaitable[Any]]) -> Any:
    """A machine that is busy may take too long for the picture that is sent: then ask again."""
    for _ in range(20):
        if (answer := await ask()) == wanted:
            break
    return answer


def kind(raw: bool) -> str:
    return "raw" if raw else "typed"


async def refused(call: Any) -> list[str]:
    try:
        await call
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["not refused", ""]


async def health(address: str, service: str) -> str:
    """In the words of the protocol's own file."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        except grpc.RpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
