"""The composed method against loops over its own embeddings; its gradients are in tests/numerics."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import InvalidDocument
from detco_core.method.detco import Contrasts, DetCo, make_detco
from detco_core.method.queues import Queues
from detco_core.nets.encoder import Embeddings
from detco_core.views.pipeline import Views

ConfigMaker = Callable[..., RunConfig]
ViewMaker = Callable[..., Views]
Builder = Callable[..., DetCo]
STAGES = ("res2", "res3", "res4", "res5")


def slow_terms(q: Embeddings, k: Embeddings, queues: Queues, stages: Sequence[str], t: float) -> dict[str, float]:
    """Every term that has embeddings, one image and one negative at a time."""
    terms: dict[str, float] = {}
    for term, query, key, queue in (
        ("g2g", q.globals, k.globals, queues.globals),
        ("l2l", q.locals, k.locals, queues.locals),
        ("l2g", q.locals, k.globals, queues.globals),
    ):
        if not (len(query) and len(key) and len(queue)):
            continue
        for i, stage in enumerate(stages):
            total = 0.0
            for own, other in zip(query[i].tolist(), key[i].tolist(), strict=True):
                scores = [float(np.dot(own, rival)) / t for rival in [other, *queue[i].tolist()]]
                total += math.log(sum(math.exp(score) for score in scores)) - scores[0]
            terms[f"{term}/{stage}"] = total / len(query[i])
    return terms


def as_in_moco(q: Embeddings, k: Embeddings, method: DetCo, weights: Mapping[str, float]) -> Tensor:
    """The weighted sum by cross entropy over concatenated logits, as MoCo writes it; differentiable."""
    kinds = {
        "g2g": (q.globals, k.globals, method.queues.globals),
        "l2l": (q.locals, k.locals, method.queues.locals),
        "l2g": (q.locals, k.globals, method.queues.globals),
    }
    total = torch.zeros((), dtype=torch.float64)
    for name, weight in weights.items():
        term, stage = name.split("/")
        query, key, queue = (kind[method.stages.index(stage)] for kind in kinds[term])
        logits = torch.cat([(query * key).sum(dim=1, keepdim=True), query @ queue.T], dim=1)
        zeros = torch.zeros(len(query), dtype=torch.long)
        total = total + weight * functional.cross_entropy(logits / method.config.temperature, zeros)
    return total


@pytest.mark.parametrize("head", ["narrow", "wide", "pirl"])
@pytest.mark.parametrize(
    ("stages", "terms", "temperature", "queue"),
    [
        ((0.1, 0.4, 0.7, 1.0), {"g2g": 1.0, "l2l": 1.0, "l2g": 1.0}, 0.2, 16),
        ((0.1, 0.4, 0.7, 1.0), {"g2g": 1.0, "l2l": 0.5, "l2g": 2.0}, 0.07, 4),
        ((0.0, 0.5, 0.0, 2.0), {"g2g": 1.0, "l2l": 1.0, "l2g": 0.0}, 0.2, 32),
        ((1.0, 0.0, 0.0, 0.0), {"g2g": 0.0, "l2l": 0.3, "l2g": 1.0}, 1.0, 16),
        ((0.0, 0.0, 0.7, 0.1), {"g2g": 0.0, "l2l": 1.0, "l2g": 0.0}, 0.2, 16),
        ((0.2, 0.0, 0.0, 1.0), {"g2g": 0.0, "l2l": 0.0, "l2g": 3.0}, 0.2, 16),
        ((0.0, 1.0, 1.0, 0.0), {"g2g": 2.0, "l2l": 0.0, "l2g": 0.0}, 0.5, 8),
    ],
)
def test_loss_and_gradient_are_those_of_the_weighted_terms(
    narrow_detco: Builder,
    small_config: ConfigMaker,
    random_views: ViewMaker,
    stages: tuple[float, ...],
    terms: dict[str, float],
    temperature: float,
    queue: int,
    head: str,
) -> None:
    """Any stages, terms, temperature, queue and local head: loops for the values, cross entropy for the gradients."""
    config = small_config(
        method__stage_weights=stages,
        method__term_weights=terms,
        method__temperature=temperature,
        method__queue_size=queue,
        method__local_head=head,
    )
    method, views = narrow_detco(config), random_views(dtype=torch.float64)
    uses = {"image": terms["g2g"] > 0, "patches": terms["l2l"] > 0 or terms["l2g"] > 0}
    keys = {"image": terms["g2g"] > 0 or terms["l2g"] > 0, "patches": terms["l2l"] > 0}
    output: Contrasts = method(views)
    q = method.query(views.global_query if uses["image"] else None, views.local_query if uses["patches"] else None)
    with torch.no_grad():
        k = method.key(views.global_key if keys["image"] else None, views.local_key if keys["patches"] else None)
    expected = slow_terms(q, k, method.queues, method.stages, temperature)
    weights = {
        f"{term}/{stage}": weight * share
        for term, weight in terms.items()
        for stage, share in zip(STAGES, stages, strict=True)
        if weight * share
    }
    assert set(output.terms) == set(weights)
    for name, term in output.terms.items():
        assert term.loss.item() == pytest.approx(expected[name], rel=1e-9), name
    total = sum(weight * expected[name] for name, weight in weights.items())
    assert output.loss.item() == pytest.approx(total, rel=1e-9)
    trained = [weight for weight in method.query.parameters() if weight.requires_grad]
    found = torch.autograd.grad(output.loss, trained)
    for one, other in zip(found, torch.autograd.grad(as_in_moco(q, k, method, weights), trained), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


def test_key_encoder_moves_when_told(narrow_detco: Builder, small_config: ConfigMaker, random_views: ViewMaker) -> None:
    method, views = narrow_detco(small_config()), random_views(dtype=torch.float64)
    before = [k.clone() for k in method.key.parameters()]
    with torch.no_grad():
        for weight in method.query.parameters():
            weight.add_(0.01)
    still = method(views).keys
    method.move_key(0.9)
    output = method(views)
    for old, new, query in zip(before, method.key.parameters(), method.query.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * query)
    with torch.no_grad():
        moved = method.key(views.global_key, views.local_key)
    assert torch.allclose(output.keys.globals[3], moved.globals[3], atol=1e-12)
    assert not torch.allclose(still.globals[3], moved.globals[3], atol=1e-12)


def test_gradient_reaches_every_query_weight_and_nothing_else(
    narrow_detco: Builder, small_config: ConfigMaker, random_views: ViewMaker
) -> None:
    method = narrow_detco(small_config())
    output = method(random_views(dtype=torch.float64))
    output.loss.backward()
    assert all(q.grad is not None and torch.isfinite(q.grad).all() for q in method.query.parameters())
    assert all(k.grad is None for k in method.key.parameters())
    assert not any(key.requires_grad for key in (*output.keys.globals, *output.keys.locals))


def test_queues_change_only_when_told(
    narrow_detco: Builder, small_config: ConfigMaker, random_views: ViewMaker
) -> None:
    method = narrow_detco(small_config())
    before = method.queues.globals.clone()
    output = method(random_views(dtype=torch.float64))
    assert torch.equal(method.queues.globals, before)
    output.loss.backward()
    method.enqueue([output.keys])
    for stage in range(4):
        assert torch.equal(method.queues.globals[stage, :4], output.keys.globals[stage])
        assert torch.equal(method.queues.locals[stage, :4], output.keys.locals[stage])
    assert torch.equal(method.queues.globals[:, 4:], before[:, 4:])
    assert method.queues.pointer.item() == 4


def test_a_step_cut_in_micro_batches_is_the_same_step(
    narrow_detco: Builder, small_config: ConfigMaker, random_views: ViewMaker
) -> None:
    """Loss, gradients and queues, batch norm aside; the queue stays as it was until all are done."""
    whole, cut = (narrow_detco(small_config()).eval() for _ in range(2))
    views = random_views(dtype=torch.float64)
    output = whole(views)
    output.loss.backward()
    whole.enqueue([output.keys])
    parts = [cut(Views(*(None if x is None else x[rows] for x in views))) for rows in (slice(0, 2), slice(2, 4))]  # type: ignore[arg-type]  # a None stays in its place
    for part in parts:
        (part.loss / len(parts)).backward()
    cut.enqueue([part.keys for part in parts])
    assert output.loss.item() == pytest.approx(sum(part.loss.item() for part in parts) / 2, rel=1e-12)
    for one, other in zip(whole.query.parameters(), cut.query.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)
    for name, tensor in whole.queues.state_dict().items():
        torch.testing.assert_close(cut.queues.state_dict()[name], tensor, msg=name)


def test_patches_of_an_image_stay_together(
    narrow_detco: Builder, small_config: ConfigMaker, random_views: ViewMaker
) -> None:
    """Changing one image's patches changes that image's local embedding only (batch norm aside)."""
    method, views = narrow_detco(small_config()).eval(), random_views(dtype=torch.float64)
    assert views.local_query is not None
    changed = views.local_query.clone()
    changed[2] += 1.0
    with torch.no_grad():
        before, after = (method.query(None, x).locals[3] for x in (views.local_query, changed))
    rows = [not torch.allclose(a, b) for a, b in zip(before, after, strict=True)]
    assert rows == [False, False, True, False]


@pytest.mark.parametrize(
    ("terms", "names", "global_heads", "local_heads", "local_queues"),
    [
        ({"g2g": 1.0, "l2l": 0.0, "l2g": 0.0}, {"g2g"}, 4, 0, 0),
        ({"g2g": 0.0, "l2l": 1.0, "l2g": 0.0}, {"l2l"}, 0, 4, 4),
        ({"g2g": 0.0, "l2l": 0.0, "l2g": 1.0}, {"l2g"}, 4, 4, 0),
        ({"g2g": 1.0, "l2l": 0.0, "l2g": 1.0}, {"g2g", "l2g"}, 4, 4, 0),
        ({"g2g": 0.0, "l2l": 1.0, "l2g": 1.0}, {"l2l", "l2g"}, 4, 4, 4),
        ({"g2g": 1.0, "l2l": 1.0, "l2g": 0.0}, {"g2g", "l2l"}, 4, 4, 4),
    ],
)
def test_a_term_switched_off_costs_nothing(
    narrow_detco: Builder,
    small_config: ConfigMaker,
    random_views: ViewMaker,
    terms: dict[str, float],
    names: set[str],
    global_heads: int,
    local_heads: int,
    local_queues: int,
) -> None:
    method = narrow_detco(small_config(method__term_weights=terms))
    assert len(method.query.global_heads) == global_heads
    assert len(method.query.local_heads) == local_heads
    assert len(method.queues.locals) == local_queues
    views = random_views(dtype=torch.float64)
    if not method.uses_patches:
        views = views._replace(local_query=None, local_key=None)
    output = method(views)
    output.loss.backward()
    method.enqueue([output.keys])
    assert {name.split("/")[0] for name in output.terms} == names
    for weight in method.query.parameters():
        assert (weight.grad is not None) == weight.requires_grad


def test_a_stage_switched_off_costs_nothing(
    narrow_detco: Builder, small_config: ConfigMaker, random_views: ViewMaker
) -> None:
    method = narrow_detco(small_config(method__stage_weights=(0.0, 1.0, 0.5, 0.0)))
    ran: list[str] = []
    method.query.backbone.get_submodule("layer4").register_forward_hook(lambda *_: ran.append("layer4"))
    output = method(random_views(dtype=torch.float64))
    output.loss.backward()
    assert method.stages == ("res3", "res4")
    assert {name.split("/")[1] for name in output.terms} == {"res3", "res4"}
    assert len(method.query.global_heads) == len(method.queues.globals) == 2
    assert not ran
    assert not any(weight.requires_grad for weight in method.query.backbone.get_submodule("layer4").parameters())
    assert output.loss.item() == pytest.approx(
        sum({"res3": 1.0, "res4": 0.5}[n.split("/")[1]] * c.loss.item() for n, c in output.terms.items())
    )


@pytest.mark.parametrize("overrides", [{}, {"method__local_head": "pirl"}, {"method__local_head": "wide"}])
def test_state_holds_both_encoders_and_the_queues(
    narrow_detco: Builder, small_config: ConfigMaker, overrides: dict[str, Any]
) -> None:
    one, other = narrow_detco(small_config(**overrides)), narrow_detco(small_config(**overrides), seed=1)
    state = one.state_dict()
    assert {name.split(".")[0] for name in state} == {"query", "key", "queues"}
    assert {name.split(".", 1)[1] for name in state if name.startswith("query.")} == {
        name.split(".", 1)[1] for name in state if name.startswith("key.")
    }
    other.load_state_dict(state)
    assert all(torch.equal(state[name], value) for name, value in other.state_dict().items())


@pytest.mark.slow
def test_trains_a_network_without_batch_norm_of_other_channels(small_config: ConfigMaker) -> None:
    config = small_config(
        method__backbone="timm/convnext_atto",
        method__local_head="pirl",
        method__stage_weights=(0.0, 1.0, 1.0, 0.0),
        views__channels=2,
    )
    method = make_detco(config)
    assert method.batch_norm == "none: the network has no batch norm"
    shapes = (2, 2, 32, 32), (2, 2, 32, 32), (2, 9, 2, 32, 32), (2, 9, 2, 32, 32)
    method(Views(*(torch.randn(shape) for shape in shapes))).loss.backward()
    for name, weight in method.query.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
    assert not any(weight.requires_grad for weight in method.query.backbone.idle(3))


def test_patches_of_which_nothing_would_be_left_are_refused(small_config: ConfigMaker) -> None:
    config = small_config(method__backbone="timm/convnext_atto", views__patch_size=16)
    with pytest.raises(InvalidDocument, match=r"views\.patch_size: 16 pixels are too few for timm/convnext_atto.*32"):
        make_detco(config)
