"""Features: every tensor holds the length of its picture."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile

from tests.unit.client.stub.state import State


def add_features(app: FastAPI, state: State) -> None:
    @app.post("/v1/features")
    async def features(request: Request) -> Response:
        if "multipart" not in request.headers["content-type"]:
            state.bodies.append(dict(request.query_params))
            return tensors_of([await request.body()], True, state.bodies[-1])
        async with request.form() as form:
            raw = [await part.read() for part in form.getlist("image") if isinstance(part, UploadFile)]
            state.bodies.append(json.loads(str(form["request"])))
        return tensors_of(raw, False, state.bodies[-1])


def tensors_of(raw: Sequence[bytes], single: bool, asked: dict[str, Any]) -> Response:
    """A reply whose every tensor holds the length of its picture."""
    levels = asked.get("levels", "res5")
    names = levels.split(",") if isinstance(levels, str) else levels
    outputs, data, images = [], b"", []
    for index, picture in enumerate(raw):
        broken = picture.startswith(b"broken")
        images.append({"original": [2, 3], "error": {"code": "unreadable", "detail": "no picture"} if broken else None})
        for level in () if broken else names:
            array = np.full((1, 2, 2, 3), len(picture), "<f4")
            parameters = {"binary_data_size": array.nbytes, "level": level, "image": index, "stride": 32}
            name = level if single else f"{index}/{level}"
            outputs.append({"name": name, "datatype": "FP32", "shape": [1, 2, 2, 3], "parameters": parameters})
            data += array.tobytes()
    meta = json.dumps({"model": "detector", "version": 1, "outputs": outputs, "images": images}).encode()
    headers = {"Inference-Header-Content-Length": str(len(meta))}
    return Response(meta + data, headers=headers, media_type="application/octet-stream")
