"""Where the nodes of an open model run: a session on a GPU may have some computed on the CPU without a word."""

from collections import Counter
from typing import Any

from detco_core.inference.sessions.execution import CPU

_OF_SHAPES = {
    *("Add", "Ceil", "Div", "Equal", "Floor", "Max", "Min", "Mod", "Mul", "Sub", "Where"),
    *("Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Gather", "Identity", "Range", "Reshape", "Shape"),
    *("Size", "Slice", "Split", "Squeeze", "Unsqueeze"),
}
"""Operators with which a graph computes sizes: a few integers, which onnxruntime rightly keeps on the CPU."""


def left_to_the_cpu(session: Any) -> str | None:
    """The operators of pictures that the CPU computes, `Resize (3), Conv (1)`; None when there are none.

    Only of a session opened with the option `RECORDED`.
    """
    found = Counter(
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == CPU
        for node in part.get_nodes()
        if node.domain not in ("", "ai.onnx") or node.op_type not in _OF_SHAPES
    )
    return ", ".join(f"{name} ({count})" for name, count in found.most_common()) or None
