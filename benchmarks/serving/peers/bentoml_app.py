"""BentoML with the bare runtime: `bentoml serve benchmarks.serving.peers.bentoml_app:Features`, in its own
environment.
"""

import os
from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.serving.bare import LENGTH_HEADER, Bare

Octets = Annotated[bytes, ContentType("application/octet-stream")]


@bentoml.service(workers=1, traffic={"timeout": 300})
class Features:
    """A form's part `image` in, octets out."""

    def __init__(self) -> None:
        self._bare = Bare(Path(os.environ["BENCHMARK_MODEL"]), int(os.environ["BENCHMARK_SIDE"]))

    @bentoml.api  # type: ignore[untyped-decorator] # not installed here
    def features(self, image: Annotated[Path, ContentType("image/jpeg")], ctx: bentoml.Context) -> Octets:
        body, length = self._bare.answer(image.read_bytes())
        ctx.response.headers[LENGTH_HEADER] = str(length)
        return body
