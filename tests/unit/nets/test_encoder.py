"""The encoder: which head reads which map, in which order, and in which precision."""

import pytest
import torch
from torch import nn

from detco_core.nets.backbone import make_backbone
from detco_core.nets.batch_norm import split
from detco_core.nets.encoder import Encoder
from detco_core.nets.heads import GlobalHead, make_local_head
from tests.networks import narrow_backbone


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    backbone = make_backbone("resnet18")
    channels = backbone.channels[1:]
    locals_ = [make_local_head("narrow", c, 9, 8) for c in channels]
    return Encoder(backbone, (1, 2, 3), [GlobalHead(c, 8) for c in channels], locals_)


def test_each_head_reads_its_stage(encoder: Encoder) -> None:
    encoder.eval()
    image, patches = torch.randn(2, 3, 32, 32), torch.randn(2, 9, 3, 16, 16)
    with torch.no_grad():
        found = encoder(image, patches)
        whole, parts = encoder.backbone(image), encoder.backbone(patches.reshape(18, 3, 16, 16))
        for place, stage in enumerate((1, 2, 3)):
            for mine, heads, maps in (
                (found.globals, encoder.global_heads, whole),
                (found.locals, encoder.local_heads, parts),
            ):
                raw = heads[place](maps[stage])
                torch.testing.assert_close(mine[place], raw / raw.norm(dim=1, keepdim=True))


def test_embeddings_have_length_one(encoder: Encoder) -> None:
    found = encoder(torch.randn(2, 3, 32, 32), torch.randn(2, 9, 3, 16, 16))
    for embedding in (*found.globals, *found.locals):
        assert embedding.shape == (2, 8)
        assert torch.allclose(embedding.norm(dim=1), torch.ones(2))


def test_a_kind_left_out_is_not_computed(encoder: Encoder) -> None:
    found = encoder(torch.randn(2, 3, 32, 32), None)
    assert len(found.globals) == 3
    assert found.locals == ()
    assert encoder(None, torch.randn(2, 9, 3, 16, 16)).globals == ()


def test_batch_norm_sees_the_patches_first(encoder: Encoder) -> None:
    """The last update of the running statistics is from whole images (docs/method.md, A9)."""
    image, patches = torch.zeros(2, 3, 32, 32), torch.ones(2, 9, 3, 16, 16)
    order: list[float] = []
    encoder.backbone.get_submodule("bn1").register_forward_pre_hook(lambda _, inputs: order.append(inputs[0].shape[0]))
    encoder(image, patches)
    assert order == [18, 2]


def test_embeddings_keep_full_precision_under_autocast(encoder: Encoder) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder(torch.randn(2, 3, 32, 32), None)
    assert {embedding.dtype for embedding in found.globals} == {torch.float32}


def test_double_precision_stays_double(encoder: Encoder) -> None:
    found = encoder.double()(torch.randn(2, 3, 32, 32, dtype=torch.float64), None)
    assert {embedding.dtype for embedding in found.globals} == {torch.float64}


def test_patches_and_images_share_the_backbone(encoder: Encoder) -> None:
    assert sum(isinstance(module, nn.Conv2d) and module.in_channels == 3 for module in encoder.modules()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("groups", [None, 2])
def test_it_is_one_graph_to_the_compiler(groups: int | None) -> None:
    """Nothing on the way asks the host, in training, with torch's batch norm and with virtual groups."""
    backbone = narrow_backbone()
    if groups is not None:
        split(backbone, groups)
    locals_ = [make_local_head("narrow", c, 9, 8) for c in backbone.channels]
    encoder = Encoder(backbone, (0, 1, 2, 3), [GlobalHead(c, 8) for c in backbone.channels], locals_)
    image, patches = torch.randn(4, 3, 32, 32), torch.randn(4, 9, 3, 16, 16)
    compiled = torch.compile(encoder, backend="eager", fullgraph=True)
    for found, expected in zip(compiled(image, patches).locals, encoder(image, patches).locals, strict=True):
        torch.testing.assert_close(found, expected)
