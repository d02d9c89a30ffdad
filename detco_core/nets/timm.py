"""Any network of timm that has four stages, by the name `timm/NAME`, e.g. `timm/convnext_atto`.

timm describes its networks itself (`feature_info`). Not all of the thousand can be cut or take images of any size, so
a small image is sent through before a network is taken.

N batch, B channels of the image, C channels of a stage, H and W in pixels.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.nets.stages import StageBackbone

PREFIX = "timm/"
_STAGES = 4
_PROBE = (64, 96)
_INSIDE = "network."


class TimmBackbone(StageBackbone):
    """The last four taps of a timm network; its `state_dict()` has timm's names, without the classifier's.

    Attributes:
        network: timm's own, without its head.
        taps: places of the four stages in its `feature_info`.
    """

    def __init__(self, name: str, network: nn.Module, in_channels: int) -> None:
        super().__init__()
        # Any: what timm's networks share is a convention, not a class.
        described: Any = network
        stages = list(described.feature_info)
        self.architecture = PREFIX + name
        self.in_channels = in_channels
        self.network = network
        self.taps = tuple(range(len(stages)))[-_STAGES:]
        self.channels = tuple(stages[tap]["num_chs"] for tap in self.taps)
        self.strides = tuple(stages[tap]["reduction"] for tap in self.taps)
        described.prune_intermediate_layers(list(self.taps), prune_norm=True, prune_head=True)

    def forward(self, x: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """As of `StageBackbone`."""
        network: Any = self.network
        maps = network.forward_intermediates(
            x, indices=list(self.taps[:depth]), stop_early=True, output_fmt="NCHW", intermediates_only=True
        )
        return tuple(maps)

    def idle(self, depth: int) -> Iterator[nn.Parameter]:
        """As of `StageBackbone`; found by sending a gradient through, since timm does not say."""
        # Twins of the weights, since those may be frozen.
        twins = {name: weight.detach().requires_grad_() for name, weight in self.named_parameters()}
        sums = [m.sum() for m in self.probe(depth, weights=twins)]
        found: tuple[Tensor | None, ...] = torch.autograd.grad(sums, list(twins.values()), allow_unused=True)
        return (weight for weight, gradient in zip(self.parameters(), found, strict=True) if gradient is None)

    def fits(self, side: int) -> bool:
        """As of `StageBackbone`; found by trying."""
        try:
            return all(m.numel() for m in self.probe(size=(side, side)))
        # A convolution whose kernel does not fit its input.
        except RuntimeError:
            return False

    def probe(
        self, depth: int = 4, size: tuple[int, int] = _PROBE, weights: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        """The maps of a small grey image, with batch norm and dropout at rest; `weights` in place of its own."""
        own, training = next(self.parameters()), self.training
        grey = torch.zeros(1, self.in_channels, *size, dtype=own.dtype, device=own.device)
        try:
            maps: tuple[Tensor, ...] = functional_call(self.eval(), dict(weights or {}), (grey, depth))
        finally:
            self.train(training)
        return maps

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """The state of `network`: the wrapping does not show in the names."""
        return self.network.state_dict(*args, **options)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[prefix + _INSIDE + key.removeprefix(prefix)] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


def make_timm(name: str, in_channels: int) -> TimmBackbone:
    """The timm network `name` (without `timm/`) with random weights.

    Raises:
        InvalidDocument: timm is not installed, has no such network, or it cannot be tapped at four stages.
    """
    try:
        import timm
    except ImportError as error:
        raise _refused(name, "needs timm: install it, e.g. as detco[timm]") from error
    if name not in timm.list_models():
        close = ", ".join(PREFIX + other for other in difflib.get_close_matches(name, timm.list_models()))
        message = f"is no network of timm {timm.__version__}" + (f"; close to it: {close}" if close else "")
        raise _refused(name, message)
    network = timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=0)
    _require_stages(name, getattr(network, "feature_info", ()))
    backbone = TimmBackbone(name, network, in_channels)
    _require_maps(name, backbone)
    return backbone


def _require_stages(name: str, stages: Any) -> None:
    strides = [stage["reduction"] for stage in stages if isinstance(stage, Mapping)][-_STAGES:]
    if len(strides) < _STAGES or strides != sorted(set(strides)):
        raise _refused(name, f"has no four stages of growing stride (timm says: {strides or 'none'})")


def _require_maps(name: str, backbone: TimmBackbone) -> None:
    """Hold the network to what it says of itself, on an image that few would have been made for."""
    try:
        shapes = [tuple(m.shape[1:]) for m in backbone.probe()]
    # timm's networks assert, raise RuntimeError, ValueError or TypeError when a size or an argument does not suit them.
    except Exception as error:
        message = f"does not give its stages for an image of {_PROBE[0]} x {_PROBE[1]} pixels: {error}"
        raise _refused(name, message) from error
    said = zip(backbone.channels, backbone.strides, strict=True)
    expected = [(channels, *(side // stride for side in _PROBE)) for channels, stride in said]
    if shapes != expected:
        raise _refused(name, f"gives maps of shapes {shapes} where timm says {expected}")


def _refused(name: str, message: str) -> InvalidDocument:
    return InvalidDocument("run config", (Fault("method.backbone", f"{PREFIX}{name} {message}"),))
