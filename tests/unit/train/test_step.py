"""One step: that cutting it changes nothing, and that a bad one leaves nothing behind."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from detco_core.contract.config import RunConfig
from detco_core.method.detco import Contrasts, make_detco
from detco_core.method.losses import Contrast
from detco_core.nets.encoder import Embeddings
from detco_core.runtime.device import make_scaler
from detco_core.runtime.optim import make_optimizer
from detco_core.train.state import Stateful, make_stateful
from detco_core.train.step import Stepper, each, joined, micro_batches
from detco_core.views.pipeline import Views
from tests.networks import narrow_backbone

Configs = Callable[..., RunConfig]
CPU = torch.device("cpu")


def made_up(batch: int = 4, dtype: torch.dtype = torch.float32) -> Views:
    torch.manual_seed(3)
    shapes = (batch, 3, 32, 32), (batch, 3, 32, 32), (batch, 9, 3, 16, 16), (batch, 9, 3, 16, 16)
    return Views(*(torch.randn(shape, dtype=dtype) for shape in shapes))


def stepper(config: RunConfig, run: Stateful) -> Stepper:
    return Stepper(config=config, device=CPU, run=run, model=run.method, steps=10)


def contents(run: Stateful) -> dict[str, Any]:
    momenta = {f"momentum/{n}": state["momentum_buffer"] for n, state in enumerate(run.optimizer.state.values())}
    return copy.deepcopy({**run.method.state_dict(), **momenta})


def test_micro_batches_follow_one_another() -> None:
    views = Views(torch.arange(6.0), torch.arange(6.0) + 10, None, None)
    parts = micro_batches(views, 3)
    assert [part.global_query.tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert [part.global_key.tolist() for part in parts] == [[10, 11], [12, 13], [14, 15]]
    assert all(part.local_query is None for part in parts)
    assert micro_batches(views, 1) == [views]


def test_each_changes_what_is_there() -> None:
    changed = each(Views(torch.ones(1), torch.ones(1), None, None), lambda x: x + 1)
    assert changed.global_query == changed.global_key == torch.full((1,), 2.0)
    assert changed.local_query is changed.local_key is None


def test_joined_in_plain_words() -> None:
    def output(value: float) -> Contrasts:
        scalar = torch.tensor(value)
        embeddings = Embeddings((torch.full((2, 3), value),), ())
        return Contrasts(scalar, {"g2g/res5": Contrast(*[scalar] * 4)}, embeddings, embeddings)

    whole = joined([output(1.0), output(4.0)])
    assert whole.loss == 2.5
    assert [float(value) for value in whole.terms["g2g/res5"]] == [2.5] * 4
    assert whole.queries.globals[0][:, 0].tolist() == [1, 1, 4, 4]
    assert whole.queries.locals == ()
    assert [part.globals[0][0, 0].item() for part in whole.keys] == [1, 4]
    assert whole.skipped is None


def test_a_step_in_micro_batches_is_the_whole_step(tiny_config: Configs) -> None:
    """Without batch statistics: loss, weights, both encoders and queues in order, in float64."""
    found: list[dict[str, Tensor]] = []
    for accumulate in (1, 2):
        config = tiny_config(train__accumulate=accumulate)
        torch.manual_seed(0)
        method = make_detco(config, narrow_backbone()).double().eval()
        optimizer = make_optimizer(method.query.parameters(), config.optim)
        run = Stateful(method=method, optimizer=optimizer, scaler=make_scaler(config.device, CPU))
        outcome = stepper(config, run)(made_up(dtype=torch.float64), done=0)
        found.append({**contents(run), "loss": outcome.loss, "queries": torch.stack(outcome.queries.locals)})
    whole, cut = found
    assert whole["queues.pointer"].item() == 4
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_bad_step_leaves_nothing_behind(tiny_config: Configs, accumulate: int) -> None:
    config = tiny_config(train__accumulate=accumulate)
    run = make_stateful(config, CPU)
    views = made_up()
    views.local_key[-1, 0, 0, 0, 0] = float("nan")  # type: ignore[index]  # it is there
    before = contents(run)
    outcome = stepper(config, run)(views, done=0)
    assert outcome.skipped == "bad"
    assert not torch.isfinite(outcome.loss)
    after = contents(run)
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_an_overflow_of_fp16_is_no_fault_of_the_run(tiny_config: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scaler lowers its factor and leaves the weights; the keys are good and are kept."""
    config = tiny_config(device__precision="fp16")
    run = make_stateful(config, CPU)
    one = stepper(config, run)

    def overflowing(self: Stepper, views: Views) -> Any:
        run.optimizer.zero_grad()
        weight = next(run.method.query.parameters())
        weight.grad = torch.full_like(weight, torch.inf)
        run.scaler.scale(torch.zeros(()))
        run.scaler.unscale_(run.optimizer)
        keys = Embeddings(*(tuple(torch.ones(4, 8) for _ in run.method.stages) for _ in range(2)))
        return joined([Contrasts(torch.tensor(7.0), {}, keys, keys)])

    monkeypatch.setattr(Stepper, "gradients", overflowing)
    before = contents(run)
    assert one(made_up(), done=0).skipped == "overflow"
    after = contents(run)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "queues.globals",
        "queues.locals",
        "queues.pointer",
    }
    assert run.scaler.get_scale() == 2**15
    run.scaler.update(1.0)
    assert one(made_up(), done=1).skipped == "bad"


@pytest.mark.parametrize(
    ("device", "overrides", "watchful"),
    [
        ("cpu", {}, True),
        ("cuda", {}, False),
        ("cuda", {"device__precision": "bf16"}, False),
        ("cuda", {"device__precision": "fp16"}, True),
        ("cuda", {"alarms__skip_bad_steps": 3}, True),
    ],
)
def test_numbers_are_looked_at_where_that_costs_nothing_or_is_asked_for(
    tiny_config: Configs, device: str, overrides: dict[str, Any], watchful: bool
) -> None:
    config = tiny_config(**overrides)
    run = Stateful(method=None, optimizer=None, scaler=None)  # type: ignore[arg-type]  # nothing of it is used
    built = Stepper(config=config, device=torch.device(device), run=run, model=torch.nn.Identity(), steps=1)
    assert built.watchful is watchful
