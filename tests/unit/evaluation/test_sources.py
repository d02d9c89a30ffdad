"""Every kind of source opens to the backbone it names, and a wrong file is refused by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from detco_core.contract.config import STAGES, RunConfig, override
from detco_core.contract.errors import BundleError, InvalidDocument, WeightsError
from detco_core.contract.evaluations import Source
from detco_core.contract.manifest import InputSpec
from detco_core.contract.presets import preset
from detco_core.evaluation.sources import open_source
from detco_core.inference.sessions.session import Session
from detco_core.inference.tiny import write_tiny_bundle
from detco_core.nets.backbone import make_backbone
from detco_core.runtime.checkpoint import SavedFile, load, save


@pytest.mark.slow
def test_a_random_source_is_what_a_run_of_that_seed_starts_from(
    random_r18: Source, untrained: SavedFile, images: torch.Tensor
) -> None:
    checkpoint = open_source(Source(kind="checkpoint", path=str(untrained.path), sha256=untrained.sha256))
    random = open_source(random_r18)
    for stage in STAGES:
        np.testing.assert_array_equal(random.pooled(images, stage), checkpoint.pooled(images, stage))
    other = open_source(replace(random_r18, seed=6))
    assert not np.allclose(other.pooled(images, "res5"), random.pooled(images, "res5"))


def test_opening_a_random_source_leaves_the_global_generator_alone(random_r18: Source) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    open_source(random_r18)
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_brings_its_own_normalisation(untrained: SavedFile, config: RunConfig) -> None:
    backbone = open_source(Source(kind="checkpoint", path=str(untrained.path)))
    assert (backbone.mean, backbone.std) == config.views.statistics
    assert backbone.description == "resnet18 of a detco checkpoint, step 0"


@pytest.mark.slow
def test_a_weights_file_equals_torchvision(tmp_path: Path, images: torch.Tensor) -> None:
    network = models.resnet18().eval()
    torch.save(network.state_dict(), tmp_path / "r18.pth")
    backbone = open_source(Source(kind="weights", path=str(tmp_path / "r18.pth"), backbone="resnet18"))
    network.fc = torch.nn.Identity()
    with torch.inference_mode():
        np.testing.assert_allclose(backbone.pooled(images, "res5"), network(images).numpy(), rtol=1e-4, atol=1e-5)


def test_a_bundle_is_run_as_its_manifest_says(bundle: Path, images: torch.Tensor) -> None:
    backbone = open_source(Source(kind="bundle", path=str(bundle)))
    expected = Session.open(bundle).run(images.numpy(), ("res5", "pooled"))
    np.testing.assert_allclose(backbone.pooled(images, "res5"), expected["pooled"], rtol=1e-5)
    with pytest.raises(BundleError, match="unknown level 'p4'; this model has res2, res3, res4, res5"):
        backbone.pooled(images, "p4")


def test_a_bundle_says_what_its_images_are_read_with(tmp_path: Path) -> None:
    spec = InputSpec(channels=1, mean=(0.5,), std=(0.25,), color="gray", bit_depth=16)
    write_tiny_bundle(tmp_path / "gray", spec=spec)
    gray = open_source(Source(kind="bundle", path=str(tmp_path / "gray")))
    assert (gray.channels, gray.bit_depth, gray.mean, gray.std) == (1, 16, (0.5,), (0.25,))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "timm/convnext_atto"])
def test_a_checkpoint_of_another_backbone_and_other_channels(
    backbone: str, tmp_path: Path, untrained: SavedFile
) -> None:
    views = {"views.channels": 2, "views.mean": (0.5, 0.4), "views.std": (0.2, 0.1), "views.bit_depth": 16}
    config = override(preset("smoke"), {**views, "method.queue_size": 16, "method.backbone": backbone})
    network = make_backbone(backbone, 2).eval()
    state = {f"query.backbone.{name}": value for name, value in network.state_dict().items()}
    saved = save(tmp_path / "two.pt", replace(load(untrained.path).info, config=config), {"method": state})
    found = open_source(Source(kind="checkpoint", path=str(saved.path)))
    assert (found.channels, found.bit_depth, found.mean) == (2, 16, (0.5, 0.4))
    images = torch.randn(1, 2, 64, 64)
    with torch.inference_mode():
        expected = network(images)[2].mean((2, 3)).numpy()
    np.testing.assert_allclose(found.pooled(images, "res4"), expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="vgg16"):
        open_source(Source(kind="random", backbone="vgg16"))


def test_a_weights_file_of_any_format_is_the_same_source(tmp_path: Path, images: torch.Tensor) -> None:
    state = models.resnet18().state_dict()
    torch.save(state, tmp_path / "torchvision.pth")
    torch.save({"state_dict": {"module.encoder_q." + k: v for k, v in state.items()}}, tmp_path / "moco.pth")
    plain = open_source(Source(kind="weights", path=str(tmp_path / "torchvision.pth"), backbone="resnet18"))
    moco = Source(kind="weights", path=str(tmp_path / "moco.pth"), backbone="resnet18", format="moco")
    np.testing.assert_array_equal(plain.pooled(images, "res5"), open_source(moco).pooled(images, "res5"))
    with pytest.raises(WeightsError, match="holds no resnet18 laid out as openselfsup"):
        open_source(replace(moco, format="openselfsup"))


def test_wrong_weights_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    source = Source(kind="weights", path=str(path), backbone="resnet18")
    with pytest.raises(WeightsError, match=f"no weights file at {path}"):
        open_source(source)
    torch.save(models.resnet34().state_dict(), path)
    with pytest.raises(WeightsError, match=r"does not hold resnet18: .*; it looks like resnet34"):
        open_source(source)
    with pytest.raises(WeightsError, match="damaged or another: digest sha256:"):
        open_source(replace(source, sha256="sha256:00"))
    state = models.resnet18().state_dict()
    del state["layer4.1.bn2.bias"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"lacks 1 keys of resnet18"):
        open_source(source)
