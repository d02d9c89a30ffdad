"""The memory banks: for each trained stage a queue of global and a queue of local keys, all moving together.

N gathered batch, S trained stages, D dim, K queue, W processes, n images of one process at once.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from detco_core.nets.encoder import Embeddings


class Queues(nn.Module):
    """Keys of earlier batches, oldest overwritten first; one pointer for all. Starts with random directions.

    Attributes:
        globals: `[S, K, D]`, the paper's Queue_g of each stage.
        locals: `[S, K, D]`, Queue_l; `[0, K, D]` when nothing is contrasted with local keys.
        pointer: where the next key goes, a scalar kept on the device so that writing never waits for it.
    """

    globals: Tensor
    locals: Tensor
    pointer: Tensor

    def __init__(self, *, global_stages: int, local_stages: int, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("globals", _directions(global_stages, size, dim))
        self.register_buffer("locals", _directions(local_stages, size, dim))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Embeddings) -> None:
        """Write one gathered batch over the oldest entries; wraps at the end.

        Args:
            keys: `[N, D]` for each stage, N at most K, in the same order in every process.
        """
        count = (keys.globals or keys.locals)[0].shape[0]
        size = self.globals.shape[1]
        places = (self.pointer + torch.arange(count, device=self.pointer.device)) % size
        for bank, batch in ((self.globals, keys.globals), (self.locals, keys.locals)):
            for queue, key in zip(bank, batch, strict=True):
                queue.index_copy_(0, places, key.to(queue.dtype))
        self.pointer.copy_((self.pointer + count) % size)


def whole_batch(parts: Sequence[Embeddings], processes: int) -> Embeddings:
    """The keys of a whole batch, in its order, from those of its micro-batches.

    A batch is dealt to the processes first, and each cuts its share into micro-batches: with two of each, part 1 holds
    the first and third quarter. Put back, a queue does not show whether a step was cut.

    Args:
        parts: per micro-batch `[W * n, D]` for each stage, process by process.
        processes: W.
    """
    if len(parts) == 1:
        return parts[0]

    def join(pieces: Sequence[Tensor]) -> Tensor:
        shares = torch.stack([piece.reshape(processes, -1, piece.shape[1]) for piece in pieces], dim=1)
        return shares.flatten(0, 2)

    return Embeddings(
        tuple(join(pieces) for pieces in zip(*(part.globals for part in parts), strict=True)),
        tuple(join(pieces) for pieces in zip(*(part.locals for part in parts), strict=True)),
    )


def _directions(stages: int, size: int, dim: int) -> Tensor:
    return functional.normalize(torch.randn(stages, size, dim), dim=2)
