"""True DetCo runs among the stand-ins: as small as they go, one of them undisturbed to compare with."""

import io
from collections.abc import Mapping
from typing import Any

from benchmarks.chaos.customer import Customer

DATASET = "photos"
BODY: dict[str, Any] = {
    "dataset": DATASET,
    "preset": "smoke",
    "overrides": {
        "data.workers": 0,
        "train.batch_size": 4,
        "train.checkpoint_every": 4,
        "train.steps": 12,
        "views.global_size": 64,
        "views.local_size": 72,
        "views.patch_size": 20,
    },
}


def compare(customer: Customer, submitted: Mapping[str, str | None], undisturbed: str) -> list[str]:
    """The real runs whose last checkpoint is not, bit for bit, the undisturbed one's."""
    expected = _checkpoint(customer, undisturbed)
    runs = [run for run, weights in submitted.items() if weights is None and run != undisturbed]
    return [f"{run}: {why}" for run in runs if (why := _difference(_checkpoint(customer, run), expected))]


def _checkpoint(customer: Customer, run: str) -> Any:
    import torch

    found = customer.get(f"/v1/runs/{run}/checkpoints")["items"]
    if not found:
        return None
    last = max(found, key=lambda c: c["step"])
    return torch.load(io.BytesIO(customer.file(f"/v1/runs/{run}/checkpoints/{last['id']}/file")), weights_only=True)


def _difference(found: Any, expected: Any, path: str = "checkpoint") -> str | None:
    """The first place where they differ."""
    import torch

    if isinstance(expected, torch.Tensor):
        return None if torch.equal(found, expected) else f"{path} differs"
    if isinstance(expected, dict):
        if not isinstance(found, dict) or found.keys() != expected.keys():
            return f"{path} has other keys"
        return next((d for key in expected if (d := _difference(found[key], expected[key], f"{path}.{key}"))), None)
    if isinstance(expected, list | tuple):
        if len(found) != len(expected):
            return f"{path} has another length"
        pairs = enumerate(zip(found, expected, strict=True))
        return next((d for n, (a, b) in pairs if (d := _difference(a, b, f"{path}[{n}]"))), None)
    return None if found == expected else f"{path} is {found}, not {expected}"
