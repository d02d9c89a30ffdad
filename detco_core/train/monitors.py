"""The values a metric event carries: computed on the device, averaged over processes, brought to the host in one go.

Names and meanings: `detco_core.contract.metrics`. N images of this process, M of all, D dim.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from detco_core.contract.metrics import KINDS
from detco_core.method.detco import DetCo
from detco_core.method.momentum import distance
from detco_core.runtime import distributed
from detco_core.runtime.optim import gradient_norm
from detco_core.train.step import Outcome


@torch.no_grad()
def watch(method: DetCo, outcome: Outcome) -> dict[str, float]:
    """What the networks, losses and embeddings of one step look like; all processes take part."""
    values = {
        "loss": outcome.loss,
        "grad_norm": gradient_norm(method.query.parameters()),
        "ema_distance": distance(method.key, method.query),
    }
    for name, term in outcome.terms.items():
        values[f"loss/{name}"] = term.loss
        values[f"contrast_accuracy/{name}"] = term.accuracy
        values[f"positive_similarity/{name}"] = term.positive_similarity
        values[f"negative_similarity/{name}"] = term.negative_similarity
    return _to_host(values) | _embeddings(method, outcome)


def queue_values(images: int, batch: int, size: int) -> dict[str, float]:
    """`queue_age` and `queue_filled` of a queue of `size` keys, after `images` keys of `batch` a step were written."""
    return {"queue_age": float(min(images, size) // batch), "queue_filled": min(1.0, images / size)}


def spread(embeddings: Tensor) -> Tensor:
    """Standard deviation over the batch of `[..., M, D]` unit vectors, averaged over D: `[...]`.

    1 / sqrt(D) when they point everywhere alike, 0 when all are one (collapse).
    """
    return embeddings.std(dim=-2, correction=0).mean(dim=-1)


def effective_rank(embeddings: Tensor) -> Tensor:
    """RankMe of `[..., M, D]` float64 embeddings: `[...]`, from 1 to min(M, D).

    The exponential of the entropy of the singular values as shares of their sum (Garrido et al. 2023, equation 2).
    """
    # Of the smaller of the two products the eigenvalues are the squares of the singular values.
    rows, columns = embeddings.shape[-2:]
    product = embeddings.mT @ embeddings if columns <= rows else embeddings @ embeddings.mT
    singular = torch.linalg.eigvalsh(product).clamp_min(0).sqrt()
    shares = singular / singular.sum(dim=-1, keepdim=True)
    entropy: Tensor = torch.special.entr(shares).sum(dim=-1)
    return entropy.exp()


def _embeddings(method: DetCo, outcome: Outcome) -> dict[str, float]:
    """Spread and rank of the whole batch's queries, by kind and stage."""
    present = {kind: queries for kind, queries in zip(KINDS, outcome.queries, strict=True) if queries}
    names = [f"{kind}/{stage}" for kind in present for stage in method.stages]
    mine = torch.stack([embedding for queries in present.values() for embedding in queries], dim=1)
    # On the host, since a GPU is slow to find eigenvalues of small matrices; in float64, since those may be nearly 0.
    everyone = distributed.gather(mine.float()).cpu().double().transpose(0, 1)
    if not torch.isfinite(everyone).all():
        return {}
    stds, ranks = spread(everyone).tolist(), effective_rank(everyone).tolist()
    return {
        **{f"embedding_std/{name}": value for name, value in zip(names, stds, strict=True)},
        **{f"effective_rank/{name}": value for name, value in zip(names, ranks, strict=True)},
    }


def _to_host(values: Mapping[str, Tensor]) -> dict[str, float]:
    # One copy from the device for all values: each copy waits for everything the GPU still has to do.
    stacked = torch.stack([value.detach().float() for value in values.values()])
    return dict(zip(values, distributed.mean(stacked).tolist(), strict=True))
