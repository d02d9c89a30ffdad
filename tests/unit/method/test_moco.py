"""MoCo v2 as the special case, against MoCo's own few lines."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from detco_core.contract.config import RunConfig, override
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.presets import preset
from detco_core.method.moco import make_moco_v2
from detco_core.views.pipeline import Views


@pytest.fixture
def config() -> RunConfig:
    small = {"train.batch_size": 4, "method.queue_size": 16, "method.dim": 16, "train.steps": 5}
    return override(preset("moco_v2_r18"), small)


@pytest.mark.slow
def test_equals_moco_written_out(config: RunConfig, random_views: Callable[..., Views]) -> None:
    torch.manual_seed(0)
    method = make_moco_v2(config).double()
    views = random_views(dtype=torch.float64)
    output = method(Views(views.global_query, views.global_key, None, None))
    # MoCo's builder: the class of the positive, at place 0 of the logits, by cross entropy.
    q = functional.normalize(method.query.global_heads[0](method.query.backbone(views.global_query)[-1]), dim=1)
    k = functional.normalize(method.key.global_heads[0](method.key.backbone(views.global_key)[-1]), dim=1)
    logits = torch.cat([torch.einsum("nc,nc->n", q, k)[:, None], q @ method.queues.globals[0].T], dim=1) / 0.2
    expected = functional.cross_entropy(logits, torch.zeros(4, dtype=torch.long))
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-10)
    assert list(output.terms) == ["g2g/res5"]


def test_has_one_head_and_one_queue(config: RunConfig) -> None:
    method = make_moco_v2(config)
    assert (len(method.query.global_heads), len(method.query.local_heads)) == (1, 0)
    assert method.queues.globals.shape == (1, 16, 16)
    assert not method.uses_patches


def test_refuses_what_is_not_moco(config: RunConfig) -> None:
    more = override(config, {"method.stage_weights": (0.1, 0.4, 0.7, 1.0), "method.term_weights.l2l": 1.0})
    with pytest.raises(InvalidDocument) as refused:
        make_moco_v2(more)
    assert {fault.path for fault in refused.value.faults} == {"method.stage_weights", "method.term_weights"}
