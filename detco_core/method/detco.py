"""DetCo (Xie et al., ICCV 2021): four stages, global views and patches, one momentum pair, eight queues.

Shapes: N images of this process, M images of all processes, C channels of an image, S trained stages, P patches of an
image, D dim, K queue, G side of a global view, s side of a patch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from detco_core.contract.config import STAGES, MethodConfig, RunConfig
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.method.batch_norm import describe_batch_norm, fit_batch_norm, require_two_values
from detco_core.method.losses import Contrast, info_nce
from detco_core.method.momentum import make_key, move_key
from detco_core.method.queues import Queues, whole_batch
from detco_core.method.shuffle import make_deal, mine
from detco_core.nets.backbone import StageBackbone, make_backbone
from detco_core.nets.encoder import Embeddings, Encoder
from detco_core.nets.heads import GlobalHead, make_local_head
from detco_core.runtime import distributed
from detco_core.views.pipeline import Views


class Contrasts(NamedTuple):
    """What one `forward` of the method gives."""

    loss: Tensor
    """Scalar: the weighted sum of all terms."""
    terms: dict[str, Contrast]
    """By `TERM/STAGE`, e.g. `l2g/res3`; not weighted."""
    queries: Embeddings
    """`[N, D]` per stage."""
    keys: Embeddings
    """`[M, D]` per stage, process by process: for `enqueue`, after the backward pass."""


class DetCo(nn.Module):
    """The whole method as one module: its state holds both encoders, all heads and all queues.

    Attributes:
        query: the encoder that is trained.
        key: the momentum encoder, which follows it.
        queues: the negatives of every trained stage.
        stages: names of the trained stages, those of positive weight.
        batch_norm: one sentence, for the run's record: over which images batch norm takes its statistics.
    """

    def __init__(self, query: Encoder, queues: Queues, config: MethodConfig, batch_norm: str) -> None:
        super().__init__()
        self.query = query
        self.key = make_key(query)
        self.queues = queues
        self.config = config
        self.stages = trained_stages(config)
        self.batch_norm = batch_norm

    @property
    def uses_patches(self) -> bool:
        """Whether any term needs the local views T3 and T4."""
        return self.config.term_weights.l2l > 0 or self.config.term_weights.l2g > 0

    def move_key(self, momentum: float) -> None:
        """Move the momentum encoder a little towards the encoder: once a step, before its first `forward`."""
        move_key(self.key, self.query, momentum)

    def forward(self, views: Views) -> Contrasts:
        """The paper's pipeline figure; T1 and T2 are `[N, C, G, G]`, T3 and T4 `[N, P, C, s, s]`, float.

        Changes no weight and no queue, so a step may consist of several.
        """
        weights, t = self.config.term_weights, self.config.temperature

        # Encoder: T1 and T3 become queries.
        q = self.query(views.global_query if weights.g2g else None, views.local_query if self.uses_patches else None)

        # Momentum encoder, which `move_key` has brought a little closer: T2 and T4 become keys.
        with torch.no_grad():
            keys = self._keys(views)
            k = _rows(mine, keys)

        # At every stage three contrasts: global with global, local with local, local with global.
        terms: dict[str, Contrast] = {}
        for i, stage in enumerate(self.stages):
            if weights.g2g:
                terms[f"g2g/{stage}"] = info_nce(q.globals[i], k.globals[i], self.queues.globals[i], t)
            if weights.l2l:
                terms[f"l2l/{stage}"] = info_nce(q.locals[i], k.locals[i], self.queues.locals[i], t)
            if weights.l2g:
                terms[f"l2g/{stage}"] = info_nce(q.locals[i], k.globals[i], self.queues.globals[i], t)

        # Their weighted sum.
        loss = torch.stack([self.weight(name) * term.loss for name, term in terms.items()]).sum()
        return Contrasts(loss, terms, q, keys)

    def enqueue(self, keys: Sequence[Embeddings]) -> None:
        """Put the keys of all `forward` calls of a step into the queues, in the order of the whole batch.

        After the last backward pass, since all of them need the queues as they were.
        """
        self.queues.enqueue(whole_batch(keys, distributed.world_size()))

    def weight(self, name: str) -> float:
        """Weight of the term `TERM/STAGE` in the sum."""
        term, stage = name.split("/")
        term_weight: float = getattr(self.config.term_weights, term)
        return term_weight * _stage_weights(self.config)[stage]

    def _keys(self, views: Views) -> Embeddings:
        """The keys of all processes, `[M, D]` per stage, in batch order."""
        weights = self.config.term_weights
        deal = make_deal(views.global_key, self.config)
        image = deal.out(views.global_key) if weights.g2g or weights.l2g else None
        patches = deal.out(views.local_key) if weights.l2l and views.local_key is not None else None
        return _rows(deal.back, self.key(image, patches))


def trained_stages(config: MethodConfig) -> tuple[str, ...]:
    """Names of the stages of positive weight, in order."""
    return tuple(stage for stage, weight in _stage_weights(config).items() if weight > 0)


def make_detco(config: RunConfig, backbone: StageBackbone | None = None) -> DetCo:
    """Build the method with random weights from torch's global generator; nothing is built that has no weight.

    `backbone` is taken as it is; without one it is made by the config's name.

    Raises:
        InvalidDocument: the backbone is unknown, or views or batch norm do not suit it.
    """
    method, weights = config.method, config.method.term_weights
    stages = [STAGES.index(stage) for stage in trained_stages(method)]
    wants_global, wants_local = weights.g2g > 0 or weights.l2g > 0, weights.l2l > 0 or weights.l2g > 0
    backbone = backbone or make_backbone(method.backbone, config.views.channels)
    _require_sizes(config, backbone, wants_local)
    require_two_values(backbone, config)
    channels = [backbone.channels[stage] for stage in stages]
    query = Encoder(
        backbone,
        stages,
        [GlobalHead(c, method.dim) for c in channels] if wants_global else [],
        [make_local_head(method.local_head, c, config.views.patches, method.dim) for c in channels]
        if wants_local
        else [],
    )
    fit_batch_norm(query, config)
    _freeze_idle(query, weights.g2g > 0)
    queues = Queues(
        global_stages=len(stages) if wants_global else 0,
        local_stages=len(stages) if weights.l2l > 0 else 0,
        size=method.queue_size,
        dim=method.dim,
    )
    return DetCo(query, queues, method, describe_batch_norm(query, config))


def _require_sizes(config: RunConfig, backbone: StageBackbone, local: bool) -> None:
    """Refuse views of which the backbone would leave nothing."""
    for key in ("global_size", "patch_size") if local else ("global_size",):
        side = getattr(config.views, key)
        if not backbone.fits(side):
            message = f"{side} pixels are too few for {backbone.architecture}, whose stride is {backbone.strides[-1]}"
            raise InvalidDocument("run config", (Fault(f"views.{key}", message),))


def _freeze_idle(query: Encoder, global_queries: bool) -> None:
    """Weights that no term reaches take no gradient: stages behind the last trained, heads that only keys use."""
    for weight in query.backbone.idle(query.stages[-1] + 1):
        weight.requires_grad_(False)
    query.global_heads.requires_grad_(global_queries)


def _stage_weights(config: MethodConfig) -> dict[str, float]:
    return dict(zip(STAGES, config.stage_weights, strict=True))


def _rows(move: Callable[[Tensor], Tensor], keys: Embeddings) -> Embeddings:
    """`keys` after `move` has rearranged or exchanged their rows, all stages and kinds at once."""
    rows = move(torch.stack([*keys.globals, *keys.locals], dim=1)).unbind(dim=1)
    return Embeddings(rows[: len(keys.globals)], rows[len(keys.globals) :])
