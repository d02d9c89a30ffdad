"""The protocol's calls: models and what they take, inference, the repository, statistics."""

import asyncio
import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detco_core import __version__
from detco_core.contract.errors import ImageError
from detco_core.contract.manifest import Manifest
from detco_core.inference.session import POOLED
from server.features.engine import FeatureEngine
from server.features.errors import BadTensor, FeatureError, UnknownModel
from server.features.loaded import Loaded
from server.features.oip.replies import Inferred
from server.features.oip.requests import InferRequest
from server.features.oip.shared_memory import SharedMemory
from server.features.oip.statistics import Statistics
from server.features.oip.tensors import BYTES, WireTensor
from server.features.schemas import FeatureReply, FeatureRequest, ImagePart, read_options
from server.features.selector import DEFAULT_ALIAS

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)
PLATFORM = "onnxruntime_onnx"
TENSOR_SUFFIX = "_tensor"
IMAGE, PIXELS = "image", "pixels"
_OPTIONS = ("dtype", "normalize", "orientation", "resize")
"""Request parameters that mean what they mean at `/features`; others of the protocol's own are left alone."""
_PIXEL_TYPES = {8: ("UINT8", "FP32"), 16: ("UINT16", "FP32")}


@dataclass(frozen=True, slots=True)
class Target:
    """A model as clients of the protocol name it."""

    name: str
    model: str
    """As the records name it."""
    takes: Literal["image", "pixels"]
    number: int | None = None
    """None: what the alias `production` names."""

    @property
    def selector(self) -> str:
        return self.model if self.number is None else f"{self.model}:{self.number}"


class OpenInference:
    """The models of an engine, by the protocol's names."""

    def __init__(self, engine: FeatureEngine, regions: SharedMemory | None = None) -> None:
        """`regions`: None where clients may not share memory."""
        self._engine = engine
        self._regions = regions
        self.statistics = Statistics()

    @property
    def regions(self) -> SharedMemory:
        """Shared memory; raises `BadTensor` where it is switched off."""
        if self._regions is None:
            raise BadTensor("shared memory is switched off on this server (DETCO_SHARED_MEMORY)")
        return self._regions

    def metadata_of_server(self) -> dict[str, Any]:
        """What this is and which extensions of the protocol it has."""
        extensions = [*EXTENSIONS, *(["system_shared_memory"] if self._regions is not None else [])]
        return {"name": "detco", "version": __version__, "extensions": extensions}

    # Models

    def target(self, name: str, version: str | None = None) -> Target:
        """What a path names; raises `UnknownModel`."""
        if version is not None and not (version.isascii() and version.isdigit() and 0 < len(version) < 10):
            raise UnknownModel(f"{name[:100]} has no version {version[:40]!r}: a version is a number")
        number = None if version is None else int(version)
        served = self._served()
        if name not in served and name.endswith(TENSOR_SUFFIX):
            return Target(name, name.removesuffix(TENSOR_SUFFIX), "pixels", number)
        return Target(name, name, "image", number)

    async def metadata(self, target: Target, only: Collection[str] | None) -> dict[str, Any]:
        """Inputs and outputs of a model; -1 is any size."""
        async with self._engine.models.lease(target.selector, only) as loaded:
            datatype, shape = _input_of(target, loaded.manifest)
            return {
                "name": target.name,
                "versions": [str(loaded.version.number)],
                "platform": PLATFORM,
                "inputs": [{"name": target.takes, "datatype": datatype, "shape": shape}],
                "outputs": [
                    {"name": name, "datatype": "FP32", "shape": [-1, channels, *rest]}
                    for name, channels, rest in _outputs_of(loaded.manifest)
                ],
            }

    async def config(self, target: Target, only: Collection[str] | None) -> dict[str, Any]:
        """The same in Triton's form."""
        described = await self.metadata(target, only)
        triton = {"BYTES": "TYPE_STRING", "UINT8": "TYPE_UINT8", "UINT16": "TYPE_UINT16", "FP32": "TYPE_FP32"}

        def tensors(key: str) -> list[dict[str, Any]]:
            return [
                {"name": item["name"], "data_type": triton[item["datatype"]], "dims": item["shape"]}
                for item in described[key]
            ]

        return {
            "name": target.name,
            "platform": PLATFORM,
            "backend": "onnxruntime",
            "version_policy": {"specific": {"versions": [int(described["versions"][0])]}},
            # Shapes below hold the batch dimension themselves.
            "max_batch_size": 0,
            "input": tensors("inputs"),
            "output": tensors("outputs"),
        }

    async def statistics_of(self, target: Target, only: Collection[str] | None) -> dict[str, Any]:
        """How often the version that would answer was asked, as the protocol's statistics."""
        async with self._engine.models.lease(target.selector, only) as loaded:
            return self.statistics.of(target.name, loaded.version.number)

    def is_ready(self, target: Target, only: Collection[str] | None) -> bool:
        """Whether the model answers now, without loading anything."""
        if only is not None and target.model not in only:
            return False
        if target.number is None:
            return target.model in self._served()
        versions = (loaded.version for loaded in self._engine.models.loaded())
        return (target.model, target.number) in {(version.model, version.number) for version in versions}

    # Inference

    async def infer(
        self, target: Target, request: InferRequest, only: Collection[str] | None
    ) -> tuple[Inferred, FeatureReply]:
        """Run a model; call `release` of the second once the answer is sent.

        Raises:
            BadTensor: inputs or outputs are not the model's.
            FeatureError, control.errors.Forbidden: as of the engine.
        """
        began = time.monotonic()
        async with self._engine.models.lease(target.selector, only) as loaded:
            number = loaded.version.number
            try:
                asked = await asyncio.to_thread(_asked, target, request, loaded, only)
                reply = await self._engine.infer(asked)
                try:
                    arrays = await asyncio.to_thread(_stacked, reply)
                except BaseException:
                    reply.release()
                    raise
            except (FeatureError, ImageError):
                self.statistics.failed(target.name, number, time.monotonic() - began)
                raise
        total = time.monotonic() - began
        self.statistics.succeeded(target.name, number, len(asked.images), reply.timings, total)
        facts = {"digest": reply.model.digest, "provider": reply.model.provider}
        return Inferred(target.name, number, arrays, facts), reply

    # The repository

    def index(self, only: Collection[str] | None, *, ready: bool) -> list[dict[str, str]]:
        """Every model with the alias `production`, under both names, and how it is."""
        entries = []
        for state in self._engine.models.states():
            model, _, alias = state.alias.partition("@")
            if alias != DEFAULT_ALIAS or (only is not None and model not in only):
                continue
            word = "READY" if state.served is not None else "UNAVAILABLE" if state.failure else "LOADING"
            if not ready or word == "READY":
                version = str((state.served or state.wanted).number)
                entry = {"version": version, "state": word, "reason": state.failure or ""}
                entries += [{"name": name, **entry} for name in (model, model + TENSOR_SUFFIX)]
        return entries

    def load(self, target: Target, seconds: float) -> None:
        """Have the model loaded and warm, also after `unload`; blocks. Raises as `Models.ensure`."""
        models = self._engine.models
        models.withhold(target.model, withheld=False)
        wanted = next((s.wanted for s in models.states() if s.alias == f"{target.model}@{DEFAULT_ALIAS}"), None)
        if wanted is None:
            raise UnknownModel(f"there is no model {target.name[:100]}: its alias {DEFAULT_ALIAS} names no version")
        models.ensure(wanted.model, wanted.number, seconds)

    def unload(self, target: Target) -> None:
        """Let go of the model on this server until it is loaded or promoted again; blocks."""
        if target.model not in self._served():
            raise UnknownModel(f"there is no model {target.name[:100]} loaded here")
        self._engine.models.withhold(target.model, withheld=True)

    def _served(self) -> dict[str, int]:
        """By model, the version that its alias `production` is served by."""
        states = (state for state in self._engine.models.states() if state.served is not None)
        pairs = ((state.alias.partition("@"), state.served) for state in states)
        return {model: version.number for (model, _, alias), version in pairs if alias == DEFAULT_ALIAS and version}


def _input_of(target: Target, manifest: Manifest) -> tuple[str, list[int]]:
    if target.takes == IMAGE:
        return BYTES, [-1]
    return _PIXEL_TYPES[manifest.input.bit_depth][0], [-1, manifest.input.channels, -1, -1]


def _outputs_of(manifest: Manifest) -> list[tuple[str, int, list[int]]]:
    """Name, channels and further dimensions."""
    return [*((level.name, level.channels, [-1, -1]) for level in manifest.levels), (POOLED, manifest.pooled, [])]


def _asked(target: Target, request: InferRequest, loaded: Loaded, only: Collection[str] | None) -> FeatureRequest:
    """The engine's request for a request of the protocol."""
    manifest = loaded.manifest
    images = _pictures(request) if target.takes == IMAGE else _pixels(request, manifest)
    known = [name for name, _, _ in _outputs_of(manifest)]
    names = known if request.outputs is None else [wish.name for wish in request.outputs]
    for name in names:
        if name not in known:
            raise BadTensor(f"{target.name} has no output {name[:100]!r}; its outputs are {', '.join(known)}")
    options: dict[str, Any] = {key: request.parameters[key] for key in _OPTIONS if key in request.parameters}
    if isinstance(options.get("resize"), str) and options["resize"] != "none":
        options["resize"] = _resize(options["resize"])
    timeout = request.parameters.get("timeout")
    if type(timeout) is int and timeout > 0:
        options["timeout_ms"] = max(1, timeout // 1000)
    levels = [name for name in names if name != POOLED]
    # This very version, should the alias move meanwhile.
    options |= {"model": str(loaded.version), "levels": levels or None}
    return FeatureRequest(
        images=tuple(ImagePart(image) for image in images),
        options=read_options(options),
        only_models=only,
        pooled=POOLED in names,
        maps=bool(levels),
    )


def _pictures(request: InferRequest) -> Sequence[bytes]:
    if request.raw is not None:
        return [request.raw]
    tensor = _only_input(request, IMAGE)
    if not isinstance(tensor.values, list) or len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ((), (1,)):
        raise BadTensor(
            f"{IMAGE} takes BYTES of shape [N]: encoded pictures; got {tensor.datatype} {list(tensor.shape)}"
        )
    if not tensor.values:
        raise BadTensor(f"{IMAGE} holds no picture")
    return tensor.values


def _pixels(request: InferRequest, manifest: Manifest) -> Sequence[NDArray[Any]]:
    if request.raw is not None:
        raise BadTensor(f"{PIXELS} has no shape in a raw request: send JSON with it, or the picture to the other model")
    tensor, spec = _only_input(request, PIXELS), manifest.input
    types = _PIXEL_TYPES[spec.bit_depth]
    fits = len(tensor.shape) == 4 and tensor.shape[1] == spec.channels and 0 not in tensor.shape
    if tensor.datatype not in types or not fits:
        raise BadTensor(
            f"{PIXELS} takes {' or '.join(types)} of shape [N, {spec.channels}, H, W]: pixel values of "
            f"0..{2**spec.bit_depth - 1}; got {tensor.datatype} {list(tensor.shape)}"
        )
    return [np.asarray(image) for image in tensor.values]


def _only_input(request: InferRequest, name: str) -> WireTensor:
    if len(request.inputs) != 1 or request.inputs[0].name != name:
        given = ", ".join(tensor.name for tensor in request.inputs)
        raise BadTensor(f"the model has one input, {name}; the request gives {given[:200]}")
    return request.inputs[0]


def _resize(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadTensor('the parameter resize must be "none" or JSON, such as {"short_side": 800}') from error


def _stacked(reply: FeatureReply) -> dict[str, NDArray[Any]]:
    """Each output of all pictures as one array; raises `BadTensor` for pictures that cannot be in one."""
    for image in reply.images:
        if image.error is not None:
            raise BadTensor(f"picture {image.index}: {image.error}")
    stacked = {}
    for name in dict.fromkeys(tensor.level for tensor in reply.tensors):
        arrays = [tensor.array for tensor in reply.tensors if tensor.level == name]
        if len({array.shape for array in arrays}) > 1:
            sizes = ", ".join(str(list(array.shape[2:])) for array in arrays[:5])
            raise BadTensor(
                f"the pictures give {name} of different sizes ({sizes}, ...): send them one by one, bring them to one "
                'size with the parameter resize, such as {"height": 480, "width": 640}, or ask for pooled alone'
            )
        stacked[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return stacked
