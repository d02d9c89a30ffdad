"""The ONNX file: equal to torch on any batch and size, one file, and the same bytes for the same weights."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from detco_core.contract.errors import ExportError
from detco_core.export.levels import OUTPUTS, torch_levels
from detco_core.export.onnx import read_onnx, write_onnx
from detco_core.nets.backbone import StageBackbone, make_backbone

pytestmark = pytest.mark.slow  # tracing takes seconds


@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (3, 3, 160, 256), (2, 3, 101, 333), (1, 3, 33, 1), (5, 3, 32, 64)])
def test_equals_torch_on_any_batch_and_size(bundle: Path, backbone: StageBackbone, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    expected, got = torch_levels(backbone)(images), read_onnx(backbone, bundle / "model.onnx").levels(images)
    for name in OUTPUTS:
        assert got[name].shape == expected[name].shape
        np.testing.assert_allclose(got[name], expected[name], atol=1e-4 * np.abs(expected[name]).max())


def test_its_dimensions_are_named_and_free(bundle: Path) -> None:
    model = onnx.load(str(bundle / "model.onnx"))
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "image": ["n", 3, "h", "w"],
        "res2": ["n", 64, "res2_h", "res2_w"],
        "res3": ["n", 128, "res3_h", "res3_w"],
        "res4": ["n", 256, "res4_h", "res4_w"],
        "res5": ["n", 512, "res5_h", "res5_w"],
        "pooled": ["n", 512],
    }


def test_it_stands_alone_with_batch_norm_folded(copied: Path) -> None:
    alone = copied.parent / "alone"
    alone.mkdir()
    (copied / "model.onnx").rename(alone / "model.onnx")
    session = onnxruntime.InferenceSession(str(alone / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(OUTPUTS)
    kinds = {node.op_type for node in onnx.load(str(alone / "model.onnx")).graph.node}
    assert "BatchNormalization" not in kinds


def test_it_tells_nothing_of_the_machine_it_was_made_on(bundle: Path) -> None:
    data = (bundle / "model.onnx").read_bytes()
    assert str(Path(__file__).parents[3]).encode() not in data
    assert b".py" not in data


def test_equal_weights_give_equal_bytes_and_no_noise(
    bundle: Path, backbone: StageBackbone, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_onnx(backbone, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert capfd.readouterr() == ("", "")


def test_a_network_of_timm_on_images_of_two_channels(tmp_path: Path) -> None:
    """ConvNeXt: layer norms, GELU, and no padding inside, so sides are multiples of 32."""
    backbone = make_backbone("timm/convnext_atto", 2).eval()
    write_onnx(backbone, tmp_path / "model.onnx")
    reading = read_onnx(backbone, tmp_path / "model.onnx")
    for shape in ((1, 2, 64, 96), (3, 2, 128, 32)):
        images = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
        expected, got = torch_levels(backbone)(images), reading.levels(images)
        for name in OUTPUTS:
            np.testing.assert_allclose(got[name], expected[name], atol=1e-4 * np.abs(expected[name]).max())


class Choosing(StageBackbone):
    """Computes one thing or another by what it sees, which no graph holds."""

    architecture = "choosing"
    in_channels = 3
    channels = (3, 3, 3, 3)
    strides = (4, 8, 16, 32)

    def forward(self, x: torch.Tensor, depth: int = 4) -> tuple[torch.Tensor, ...]:
        x = x * 2 if x.sum() > 0 else x
        return tuple(torch.nn.functional.avg_pool2d(x, stride) for stride in self.strides[:depth])


def test_a_network_that_cannot_be_traced_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="torch cannot write choosing as ONNX for images of any size: "):
        write_onnx(Choosing(), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
