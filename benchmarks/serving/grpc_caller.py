"""One caller over gRPC, by call or by stream, in the place of one over HTTP."""

import hashlib
import json
import struct
import time
from queue import SimpleQueue
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as wire
from tritonclient.grpc import service_pb2_grpc

from benchmarks.serving.answers import Answer
from benchmarks.serving.bare import LEVEL
from benchmarks.serving.target import Target


class GrpcCaller:
    """One channel that is kept; with the form `stream` one stream on it too, with one request at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._metadata = tuple((name.lower(), value) for name, value in target.headers.items())
        unbound = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(f"{target.host}:{target.port}", options=unbound)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._answers: Any = None
        if target.form == "stream":
            given = iter(self._requests.get, None)
            self._answers = self._stub.ModelStreamInfer(given, metadata=self._metadata)

    def send(self, path: str, picture: bytes) -> Answer:
        """Status 200 is OK; another is that of gRPC."""
        request = self._request(picture)
        began = time.perf_counter()
        try:
            answer = self._ask(request)
        except grpc.RpcError as error:
            return Answer(path, error.code().value[0], time.perf_counter() - began)
        seconds = time.perf_counter() - began
        if not answer.raw_output_contents:
            return Answer(path, grpc.StatusCode.UNKNOWN.value[0], seconds)
        digest = hashlib.sha256(answer.raw_output_contents[0]).hexdigest()
        return Answer(path, 200, seconds, version=int(answer.model_version), digest=digest)

    def close(self) -> None:
        """Ends the stream first."""
        self._requests.put(None)
        for _ in self._answers or ():
            pass
        self._channel.close()

    def _ask(self, request: Any) -> Any:
        if self._answers is None:
            return self._stub.ModelInfer(request, metadata=self._metadata)
        self._requests.put(request)
        return next(self._answers).infer_response

    def _request(self, picture: bytes) -> Any:
        message = wire.ModelInferRequest(model_name=self._target.path)
        message.inputs.add(name="image", datatype="BYTES", shape=[1])
        message.outputs.add(name=LEVEL)
        for name, value in self._target.parameters.items():
            message.parameters[name].string_param = value if isinstance(value, str) else json.dumps(value)
        message.raw_input_contents.append(struct.pack("<I", len(picture)) + picture)
        return message
