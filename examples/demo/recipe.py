"""What the demo trains, and for how long: small enough for two CPU cores, and fitted to the number of photos."""

from typing import Any

PRESET = "smoke"
BATCH = 16
STEPS = 280
TRAIN_SECONDS = 240.0
"""A machine that has not done its steps by then is asked to finish early; the demo has eight minutes in all."""
KNN = {"k": 5, "image_size": 160, "workers": 0}


def pretraining(photos: int) -> dict[str, Any]:
    """Overrides of the preset `smoke` for a set of that many photos.

    The published recipe is for 1.28 million images and 200 epochs. With so few images and steps the key encoder must
    follow faster (momentum), the queue must not hold a photo's own earlier self (size), and the learning rate must be
    small beside the momentum: else keys are told apart by their age alone, and all embeddings end in one direction.
    """
    queue = max(1, min(photos * 3 // 4, 1024) // BATCH) * BATCH
    return {
        "train.steps": STEPS,
        "train.checkpoint_every": 100,
        "train.log_every": 2,
        "method.queue_size": queue,
        "method.momentum": 0.99,
        "optim.lr": 0.01,
        "optim.warmup_steps": 20,
    }


def untrained(photos: int) -> dict[str, Any]:
    """One step at a learning rate of nothing: the random start of `pretraining`, as a run that can be exported."""
    return pretraining(photos) | {"train.steps": 1, "optim.lr": 1e-12, "optim.weight_decay": 0.0}
