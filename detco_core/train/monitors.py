"""The values a metric event carries: computed on the device, averaged over processes, brought to the host in one go.

N batch, D dim.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from detco_core.method.detco import Contrasts, DetCo
from detco_core.method.momentum import distance
from detco_core.runtime import distributed


@torch.no_grad()
def watch(method: DetCo, output: Contrasts, gradient_norm: Tensor) -> dict[str, float]:
    """The values of one step, by metric name.

    `loss`; for each TERM and STAGE `loss/TERM/STAGE` (not weighted), `contrast_accuracy/...` (0..1),
    `positive_similarity/...` and `negative_similarity/...` (cosines); `embedding_std/STAGE`; `grad_norm`;
    `ema_distance`.
    """
    values = {"loss": output.loss, "grad_norm": gradient_norm, "ema_distance": distance(method.key, method.query)}
    for name, term in output.terms.items():
        values[f"loss/{name}"] = term.loss
        values[f"contrast_accuracy/{name}"] = term.accuracy
        values[f"positive_similarity/{name}"] = term.positive_similarity
        values[f"negative_similarity/{name}"] = term.negative_similarity
    embeddings = output.queries.globals or output.queries.locals
    for stage, embedding in zip(method.stages, embeddings, strict=True):
        values[f"embedding_std/{stage}"] = spread(embedding)
    return _to_host(values)


def spread(embedding: Tensor) -> Tensor:
    """Standard deviation over the batch of `[N, D]` unit vectors, averaged over D.

    1 / sqrt(D) when they point everywhere alike, 0 when all are one (collapse).
    """
    return embedding.std(dim=0, correction=0).mean()


def _to_host(values: Mapping[str, Tensor]) -> dict[str, float]:
    # One copy from the device for all values: each copy waits for everything the GPU still has to do.
    stacked = torch.stack([value.detach().float() for value in values.values()])
    return dict(zip(values, distributed.mean(stacked).tolist(), strict=True))
