"""The graph in half precision gives the network's features, a thousandth off, and gives them in float16."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from detco_core.contract.errors import BundleError
from detco_core.inference.sessions.binding import Bound, Placement
from detco_core.inference.sessions.execution import CPU, Execution
from detco_core.inference.sessions.graph import cut
from detco_core.inference.sessions.half import halved
from detco_core.inference.sessions.host_memory import Buffers, Pageable
from detco_core.inference.sessions.opening import start

OUTPUTS = ("res2", "res3", "res4", "res5", "pooled")
TOLERANCE = 5e-3
"""Relative, as an export's parity; a ResNet-50 is within 2e-3."""


@pytest.fixture(scope="module")
def model(bundle: Path) -> bytes:
    return (bundle / "model.onnx").read_bytes()


def run(model: bytes, image: np.ndarray, outputs: tuple[str, ...]) -> dict[str, np.ndarray]:
    return Bound(start(model, Execution(providers=(CPU,), threads=1)), None).stage([image], outputs).compute()


@pytest.mark.parametrize("outputs", [OUTPUTS, ("res2", "res3")])
def test_features_are_the_same_within_the_tolerance(model: bytes, outputs: tuple[str, ...]) -> None:
    image = np.random.default_rng(0).standard_normal((2, 3, 50, 70)).astype(np.float32)
    part = cut(model, frozenset(outputs))
    whole, half = run(part, image, outputs), run(halved(part), image, outputs)
    for name in outputs:
        assert half[name].dtype == np.float16
        error = np.abs(half[name] - whole[name]).max() / np.abs(whole[name]).max()
        assert 0 < error < TOLERANCE


def test_its_outputs_are_bound_in_float16(model: bytes) -> None:
    session = start(halved(model), Execution(providers=(CPU,), threads=1))
    bound = Bound(session, Placement("cpu", 0, Buffers(Pageable(), 2**23), "cpu:0"))
    image = np.random.default_rng(0).standard_normal((1, 3, 50, 70)).astype(np.float32)
    first, second = (bound.stage([image], OUTPUTS).compute() for _ in range(2))
    for name in OUTPUTS:
        assert first[name].dtype == second[name].dtype == np.float16
        np.testing.assert_array_equal(first[name], second[name])


def test_weights_take_half_the_room_and_the_input_stays_float32(model: bytes) -> None:
    parsed = onnx.load_from_string(halved(model))
    assert {tensor.data_type for tensor in parsed.graph.initializer} == {TensorProto.FLOAT16}
    assert [value.type.tensor_type.elem_type for value in parsed.graph.input] == [TensorProto.FLOAT]


def test_the_search_path_of_modules_stays_as_it_was(model: bytes) -> None:
    before = list(sys.path)
    halved(model)
    assert sys.path == before


def test_what_cannot_be_converted_is_refused() -> None:
    node = helper.make_node("Nonsense", ["image"], ["a"], domain="nowhere")
    value = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [value("image", 1, ["n"])], [value("a", 1, ["n"])])
    broken = helper.make_model(graph).SerializeToString()[:-3]
    with pytest.raises(BundleError, match="half precision"):
        halved(broken)


def test_the_package_it_needs_is_named(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime.transformers.float16", None)
    with pytest.raises(BundleError, match="pip install 'detco\\[fp16\\]'"):
        halved(model)
