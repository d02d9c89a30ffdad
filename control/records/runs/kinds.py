"""The kinds of run there are, and the queue that each waits in."""

from typing import Literal

Kind = Literal["pretrain", "evaluate", "export", "check", "import", "extract"]
Queue = Literal["gpu", "cpu"]

QUEUES: dict[Kind, Queue] = {
    "pretrain": "gpu",
    "evaluate": "cpu",
    "export": "cpu",
    "check": "cpu",
    "import": "cpu",
    "extract": "gpu",
}
