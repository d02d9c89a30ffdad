"""Cutting a model by its wire format: what is left computes the same, and knows nothing of the rest."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from detco_core.contract.errors import BundleError
from detco_core.inference.sessions.graph import cut, needs

OUTPUTS = ("res2", "res3", "res4", "res5", "pooled")


@pytest.fixture(scope="module")
def model(bundle: Path) -> bytes:
    return (bundle / "model.onnx").read_bytes()


def run(model: bytes, outputs: list[str], image: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return list(session.run(outputs, {"image": image}))


def test_each_level_needs_what_is_below_it(model: bytes) -> None:
    found = needs(model)
    assert found.computed_with(["res2"]) == {"res2"}
    assert found.computed_with(["res4"]) == {"res2", "res3", "res4"}
    assert found.computed_with(["res2", "res5"]) == {"res2", "res3", "res4", "res5"}
    assert found.computed_with(["pooled"]) == set(OUTPUTS)
    assert found.share(["pooled"]) == 1
    assert found.share(["res2"]) == pytest.approx(4 / 12)


@pytest.mark.parametrize("deepest", range(1, len(OUTPUTS) + 1))
def test_a_cut_model_is_valid_and_computes_the_same(model: bytes, deepest: int) -> None:
    wanted = OUTPUTS[:deepest]
    part = cut(model, frozenset(wanted))
    parsed = onnx.load_from_string(part)
    onnx.checker.check_model(parsed, full_check=True)
    assert [output.name for output in parsed.graph.output] == list(wanted)
    assert len(parsed.graph.initializer) == min(deepest + 1, 5)
    image = np.random.default_rng(0).standard_normal((2, 3, 45, 67)).astype(np.float32)
    for whole, alone in zip(run(model, list(wanted), image), run(part, list(wanted), image), strict=True):
        np.testing.assert_array_equal(whole, alone)


def test_nothing_else_of_the_model_changes(model: bytes) -> None:
    whole, part = onnx.load_from_string(model), onnx.load_from_string(cut(model, frozenset(OUTPUTS)))
    assert whole.SerializeToString(deterministic=True) == part.SerializeToString(deterministic=True)


def test_shapes_of_dropped_values_do_not_stay() -> None:
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Relu", ["image"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    outputs = [value("a", TensorProto.FLOAT, ["n"]), value("b", TensorProto.FLOAT, ["n"])]
    graph = helper.make_graph(nodes, "g", [value("image", TensorProto.FLOAT, ["n"])], outputs)
    graph.value_info.append(value("b", TensorProto.FLOAT, ["n"]))
    part = onnx.load_from_string(cut(helper.make_model(graph).SerializeToString(), frozenset({"a"})))
    assert not part.graph.value_info
    assert [node.op_type for node in part.graph.node] == ["Relu"]


def test_control_flow_is_refused() -> None:
    value = helper.make_tensor_value_info
    branch = helper.make_graph([helper.make_node("Neg", ["image"], ["out"])], "b", [], [value("out", 1, ["n"])])
    node = helper.make_node("If", ["condition"], ["a"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph(
        [node], "g", [value("condition", 9, []), value("image", 1, ["n"])], [value("a", 1, ["n"])]
    )
    with pytest.raises(BundleError, match="control flow"):
        needs(helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize("data", [b"", b"not a model", b"\xff" * 100, b"\x3a\xff\xff\xff\xff\x0f", b"\x3a\x05\x0a\x90"])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="not an ONNX model"):
        needs(data)


@given(end=st.floats(0, 0.999))
def test_a_model_that_ends_early_is_refused(model: bytes, end: float) -> None:
    with pytest.raises(BundleError):
        needs(model[: int(len(model) * end)])
