"""Writes a backbone as one ONNX file (`image` in, the levels and `pooled` out, any batch and size), and runs it."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxruntime
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from detco_core.contract.errors import ExportError
from detco_core.export.levels import OUTPUTS, Array, LevelsAndPool
from detco_core.export.reading import Reading
from detco_core.inference.sessions.arena import INPUT
from detco_core.inference.sessions.execution import CPU, Execution
from detco_core.inference.sessions.opening import start
from detco_core.nets.stages import StageBackbone

OPSET = 20


def write_onnx(backbone: StageBackbone, path: Path) -> None:
    """Write `backbone`, which must be on the CPU and in eval mode, to `path`: weights inside, batch norm folded.

    Equal weights give equal bytes with the same versions of torch and onnx.

    Raises:
        ExportError: torch cannot write this network for images of any size.
    """
    onnx.save_model(_named(_traced(backbone)), str(path))


def read_onnx(backbone: StageBackbone, path: Path) -> Reading:
    """The file's outputs as ONNX Runtime computes them on the CPU; the file alone says what is computed."""
    session = start(path.read_bytes(), Execution(providers=(CPU,)))

    def run(images: Array) -> Mapping[str, Array]:
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {INPUT: images}), strict=True))

    return Reading(levels=run, library=f"onnxruntime {onnxruntime.__version__}")


def _traced(backbone: StageBackbone) -> onnx.ModelProto:
    free = {0: torch.export.Dim("n"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    # Sizes differ from each other and from 1, or the exporter takes them for constants.
    example = torch.zeros(2, backbone.in_channels, 64, 96)
    try:
        with warnings.catch_warnings():
            # The exporter's own use of deprecated parts of torch is not the reader's concern.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                LevelsAndPool(backbone).eval(),
                (example,),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes={INPUT: free},
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0][:200]
        raise ExportError(
            f"torch cannot write {backbone.architecture} as ONNX for images of any size: {reason}"
        ) from error
    assert program is not None  # noqa: S101 - None comes only from the old exporter
    # What the exporter notes beside each node holds paths of this machine.
    ClearMetadataAndDocStringPass()(program.model)
    return program.model_proto


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give the outputs' free dimensions plain names; they come as formulas of `h` and `w`."""
    del model.graph.value_info[:]
    for output in model.graph.output:
        names = ("n", f"{output.name}_h", f"{output.name}_w")
        free = [dim for dim in output.type.tensor_type.shape.dim if dim.HasField("dim_param")]
        for dim, name in zip(free, names, strict=False):
            dim.dim_param = name
    return model
