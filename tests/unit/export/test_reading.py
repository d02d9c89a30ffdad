"""Files are held against a table where the library is absent, and loaded strictly where it is present."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from detco_core.contract.errors import ExportError
from detco_core.export.levels import OUTPUTS, torch_levels
from detco_core.export.reading import check_keys, load_into, read_by_table
from detco_core.export.tables import mmdetection_table
from detco_core.nets.resnet import make_resnet
from detco_core.nets.stages import StageBackbone
from detco_core.nets.weights import save_tensors

TABLE = {"a": (2, 3), "b": ()}


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"a": (2, 3)}, r"1 keys are not as in the table of it; b is missing, should be \(\)"),
        ({"a": (2, 3), "b": (), "c": (1,)}, r".*; c is \(1,\), should be absent"),
        ({"a": (3, 2), "b": (1,)}, r"2 keys .*; a is \(3, 2\), should be \(2, 3\)"),
    ],
)
def test_a_key_too_much_too_few_or_of_another_shape_is_named(shapes: dict[str, tuple[int, ...]], reason: str) -> None:
    with pytest.raises(ExportError, match=rf"x\.pth: {reason}"):
        check_keys("x.pth", "table of it", {name: torch.zeros(shape) for name, shape in shapes.items()}, TABLE)
    check_keys("x.pth", "table of it", {name: torch.zeros(shape) for name, shape in TABLE.items()}, TABLE)


def test_what_is_read_by_a_table_gives_the_same_bits(backbone: StageBackbone, tmp_path: Path) -> None:
    save_tensors(backbone.state_dict(), tmp_path / "a.pth")
    table = mmdetection_table("resnet18")
    reading = read_by_table(backbone, tmp_path / "a.pth", "mmdetection", "table of it", table)
    assert (reading.tolerance, reading.keys, reading.library) == (0.0, 120, "table of it")
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64), dtype=np.float32)
    expected, got = torch_levels(backbone)(images), reading.levels(images)
    for name in OUTPUTS:
        np.testing.assert_array_equal(got[name], expected[name])


def test_a_damaged_file_and_one_of_another_layout_do_not_read_back(backbone: StageBackbone, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_tensors(backbone.state_dict(), path)
    with pytest.raises(ExportError, match=r"a\.pth does not read back: .*laid out as moco"):
        read_by_table(backbone, path, "moco", "it", mmdetection_table("resnet18"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ExportError, match=r"a\.pth does not read back: .*damaged"):
        read_by_table(backbone, path, "mmdetection", "it", mmdetection_table("resnet18"))


def test_loading_is_strict_unless_parts_may_be_empty(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tensors = network.state_dict()
    save_tensors({name: value for name, value in tensors.items() if name.startswith("0.")}, tmp_path / "half.pth")
    with pytest.raises(ExportError, match=r"half\.pth does not load into it: .*1\.weight"):
        load_into(network, tmp_path / "half.pth", "it")
    assert not load_into(network, tmp_path / "half.pth", "it", whole=False).training
    save_tensors({**tensors, "2.weight": torch.ones(1)}, tmp_path / "more.pth")
    with pytest.raises(ExportError, match=r"2\.weight"):
        load_into(network, tmp_path / "more.pth", "it", whole=False)
    with pytest.raises(ExportError, match="size mismatch"):
        load_into(make_resnet("resnet18", 1), _saved(make_resnet("resnet18", 3), tmp_path), "it", whole=False)


def _saved(network: nn.Module, folder: Path) -> Path:
    save_tensors(network.state_dict(), folder / "rgb.pth")
    return folder / "rgb.pth"
