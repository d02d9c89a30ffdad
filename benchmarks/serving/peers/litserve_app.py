"""LitServe with the bare runtime: `python -m benchmarks.serving.peers.litserve_app MODEL SIDE PORT`, in its own
environment.
"""

import sys
from pathlib import Path
from typing import Any

import litserve
from fastapi import Request, Response

from benchmarks.serving.bare import LENGTH_HEADER, Bare


class Features(litserve.LitAPI):  # type: ignore[misc] # not installed here
    """A form's part `image` in, octets out; one request at a time, as LitServe does by itself."""

    def __init__(self, model: Path, side: int) -> None:
        super().__init__(api_path="/features")
        self._model = model
        self._side = side

    def setup(self, device: str) -> None:
        self._bare = Bare(self._model, self._side)

    def decode_request(self, request: Request) -> Any:
        # LitServe gives the form here, whatever the annotation says.
        form: Any = request
        return form["image"].file.read()

    def predict(self, image: bytes) -> tuple[bytes, int]:
        return self._bare.answer(image)

    def encode_response(self, output: tuple[bytes, int]) -> Response:
        body, length = output
        return Response(body, media_type="application/octet-stream", headers={LENGTH_HEADER: str(length)})


def main(model: str, side: str, port: str) -> None:
    api = Features(Path(model), int(side))
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=300)
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="error")


if __name__ == "__main__":
    main(*sys.argv[1:])
