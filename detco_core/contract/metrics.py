"""The names of the values in `metrics` events: what the service stores, the UI draws and TensorBoard shows.

A name is made of parts joined by `/`. TERM is `g2g`, `l2l` or `l2g`; STAGE is `res2` to `res5`; KIND is `global` or
`local`. Values are of the step the event names unless the meaning says otherwise; with several processes, of all.
"""

from dataclasses import dataclass

from detco_core.contract.config import STAGES

TERMS = ("g2g", "l2l", "l2g")
KINDS = ("global", "local")

_PARTS = {"TERM": TERMS, "STAGE": STAGES, "KIND": KINDS}


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricFamily:
    """One kind of value; `name` is a pattern in which capitals stand for their words."""

    name: str
    unit: str
    """`1` for a share, cosine or count without a unit."""
    meaning: str

    def holds(self, name: str) -> bool:
        """Whether `name` is one of this family."""
        pattern, parts = self.name.split("/"), name.split("/")
        return len(pattern) == len(parts) and all(
            part in _PARTS.get(word, (word,)) for word, part in zip(pattern, parts, strict=True)
        )


METRICS: tuple[MetricFamily, ...] = (
    MetricFamily(name="loss", unit="nat", meaning="weighted sum of all terms"),
    MetricFamily(name="loss/TERM/STAGE", unit="nat", meaning="one InfoNCE term, not weighted; chance is ln(queue + 1)"),
    MetricFamily(
        name="contrast_accuracy/TERM/STAGE",
        unit="1",
        meaning="share of queries closer to their positive than to every negative",
    ),
    MetricFamily(
        name="positive_similarity/TERM/STAGE", unit="1", meaning="mean cosine between a query and its positive"
    ),
    MetricFamily(
        name="negative_similarity/TERM/STAGE", unit="1", meaning="mean cosine between a query and the queue's keys"
    ),
    MetricFamily(
        name="embedding_std/KIND/STAGE",
        unit="1",
        meaning="standard deviation over the batch, mean over dimensions; 1 / sqrt(dim) when full, 0 when collapsed",
    ),
    MetricFamily(
        name="effective_rank/KIND/STAGE",
        unit="1",
        meaning="RankMe of the batch's embeddings, from 1 (collapsed) to the smaller of batch and dim",
    ),
    MetricFamily(name="grad_norm", unit="1", meaning="L2 norm of all gradients together"),
    MetricFamily(
        name="ema_distance", unit="1", meaning="how far the key encoder is behind, relative to the query's norm"
    ),
    MetricFamily(name="lr", unit="1", meaning="learning rate"),
    MetricFamily(name="momentum", unit="1", meaning="momentum of the key encoder"),
    MetricFamily(name="queue_age", unit="step", meaning="steps since the oldest key that is not random was written"),
    MetricFamily(
        name="queue_filled", unit="1", meaning="share of the queue that holds keys of images, not random ones"
    ),
    MetricFamily(name="data_wait", unit="1", meaning="share of the last 30 s spent waiting for data"),
    MetricFamily(name="images_per_second", unit="image/s", meaning="rate over the last 30 s"),
    MetricFamily(name="eta_seconds", unit="s", meaning="time left at that rate"),
    MetricFamily(name="memory_rss", unit="byte", meaning="memory of rank 0's process, without its loaders"),
    MetricFamily(name="memory_cuda", unit="byte", meaning="rank 0's GPU memory in tensors"),
    MetricFamily(name="memory_cuda_peak", unit="byte", meaning="the most that was, since the run started"),
    MetricFamily(name="loss_scale", unit="1", meaning="the gradient scaler's factor; fp16 only"),
    MetricFamily(
        name="skipped_steps", unit="step", meaning="steps so far that changed no weight: overflow in fp16, NaN"
    ),
)


def family(name: str) -> MetricFamily | None:
    """The family a metric's name belongs to; None for a name this program does not use."""
    return next((found for found in METRICS if found.holds(name)), None)
