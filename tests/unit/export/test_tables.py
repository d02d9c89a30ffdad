"""The tables are what the libraries build: `tables/` and the digests below were written by detectron2 0.6 (commit
02b5c4e) and mmdetection 3.3.0 themselves, one `NAME SHAPE` a line, sorted.
"""

import hashlib
from pathlib import Path

import pytest
import timm
import torch

from detco_core.export.tables import RESNETS, Table, detectron2_table, mmdetection_table
from detco_core.nets.foreign.fit import expected_tensors
from detco_core.nets.resnet import resnets

TABLES = {"detectron2": detectron2_table, "mmdetection": mmdetection_table}
DIGESTS = {
    ("detectron2", "resnet101"): "c8644d24df6aa8ac8e7b4cc1af47339b049fd8fdf5920f4bb15cbc8ffb9e43e3",
    ("detectron2", "resnet152"): "4cf3d09b173cfcacd8fccd81d04f7e7c092fc90bcff79ba553b5593b54b3446b",
    ("detectron2", "resnet34"): "1251cc10eb4e066ff65907c11509fe66944aa480cc62c05ef07304ee28ef83a2",
    ("detectron2", "resnext101_32x8d"): "10dfaa22e210b0754ec885de8774598b29f8bef9dc340d60e684ea2a8b6b9bd5",
    ("detectron2", "resnext101_64x4d"): "bccbdf3a804409546e4b9034b0e5f349cdd51843aabb9a994ee0b149577b3047",
    ("detectron2", "resnext50_32x4d"): "c4e27eb0b9df03e3f7fb773dfe0fb374744560ebf5052759dd1916e9d821885e",
    ("detectron2", "wide_resnet101_2"): "f8f18d5530ac83edd9fcec268a9e943b29dc21fbe1d80ea61413bc31b7ec1a07",
    ("detectron2", "wide_resnet50_2"): "11cdebbb938fcbd6083a933d22c548f2b071f33a9d3ee07bcac61c173016bc2d",
    ("mmdetection", "resnet101"): "194b75e6cbcf35e7a3fa9003be555ebe034ef9ecaaaac501010429df30305903",
    ("mmdetection", "resnet152"): "79bf6aa3bd8c9155bf5003d5ea81875da6ecef18dc99824dc6241125d5666ed6",
    ("mmdetection", "resnet34"): "8306afa4f1429e9c17c2f07331a1684648228a8ae125f7016aac1762929c49b0",
    ("mmdetection", "resnext101_32x8d"): "b05dae7c4ad24d5c4c48c9696c3a7faa1ca2625d5b5f421fdb19c8ab102a2789",
    ("mmdetection", "resnext101_64x4d"): "63cb422e84e9e97ee1b620ec595797856fba8eb50904d4ffdf692e2d587501d6",
    ("mmdetection", "resnext50_32x4d"): "60e1feb1420e23a280f6cc1001743b4f094c76b3709152cac4b7f4e71d628bc5",
}


def text(table: Table) -> str:
    return "".join(sorted(f"{name} {'x'.join(map(str, shape)) or '-'}\n" for name, shape in table.items()))


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
@pytest.mark.parametrize("library", TABLES)
def test_names_and_shapes_are_the_librarys(library: str, architecture: str) -> None:
    stored = Path(__file__).with_name("tables") / f"{library}_{architecture}.txt"
    assert text(TABLES[library](architecture)) == stored.read_text()


@pytest.mark.parametrize(("library", "architecture"), DIGESTS)
def test_of_the_larger_ones_the_digest_is(library: str, architecture: str) -> None:
    found = hashlib.sha256(text(TABLES[library](architecture)).encode()).hexdigest()
    assert found == DIGESTS[library, architecture]


@pytest.mark.parametrize(("architecture", "in_channels"), [("resnet18", 3), ("resnext50_32x4d", 5)])
def test_timm_has_the_names_of_mmdetection(architecture: str, in_channels: int) -> None:
    with torch.device("meta"):
        network = timm.create_model(architecture, num_classes=0, in_chans=in_channels)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert mmdetection_table(architecture, in_channels) == expected


def test_every_resnet_of_ours_has_its_numbers() -> None:
    assert set(RESNETS) == set(resnets())
    for architecture in RESNETS:
        shapes = {name: tuple(tensor.shape) for name, tensor in expected_tensors(architecture).items()}
        assert mmdetection_table(architecture) == shapes
