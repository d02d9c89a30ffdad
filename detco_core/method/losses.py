"""InfoNCE, the loss of every term, and what a monitor wants to know about it.

N batch, D dim, K queue.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Contrast(NamedTuple):
    """One term of the loss; all are scalars, and all but `loss` are detached."""

    loss: Tensor
    accuracy: Tensor
    """Share of queries closer to their positive than to every negative, 0..1."""
    positive_similarity: Tensor
    """Mean cosine between query and positive."""
    negative_similarity: Tensor
    """Mean cosine between query and negatives."""


def info_nce(query: Tensor, positive: Tensor, negatives: Tensor, temperature: float) -> Contrast:
    """Mean over the batch of -log( exp(q.k+ / t) / ( exp(q.k+ / t) + sum over the queue of exp(q.k / t) ) ).

    Args:
        query: `[N, D]`, L2-normalised, carries the gradient.
        positive: `[N, D]`, the key of the same image, row by row.
        negatives: `[K, D]`, the queue.
        temperature: t.
    """
    # Never in half precision: at t = 0.2 the logits of 65,536 negatives need more than eight bits.
    with torch.autocast(query.device.type, enabled=False):
        alike = (query * positive).sum(dim=1)
        unlike = query @ negatives.T
        # The ratio is a logistic function of the positive's lead over all negatives together, stable at both ends.
        lead = alike / temperature - torch.logsumexp(unlike / temperature, dim=1)
        loss = -functional.logsigmoid(lead).mean()
    with torch.no_grad():
        accuracy = (alike > unlike.amax(dim=1)).to(loss.dtype).mean()
        return Contrast(loss, accuracy, alike.mean(), unlike.mean())
