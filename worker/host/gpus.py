"""The slots a host has to give, and which of its GPUs strangers use."""

from collections.abc import Sequence

from control.gpus import Gpu, find
from control.records.scheduling.workers import NewSlot
from control.settings import Settings


def offered(settings: Settings, gpus: Sequence[Gpu]) -> tuple[NewSlot, ...]:
    """The slots a worker announces: each GPU, or CPU places where there is none, and places for light work.

    Those kept for serving are named as such. A GPU on which more memory is used than a driver and a desktop take is set
    aside with the reason, as long as none of our own runs has it, and looked at again with every heartbeat.
    """
    light = [NewSlot(uuid=f"light:{n}", purpose="light", name="CPU") for n in range(settings.light_slots)]
    if not gpus:
        train = [NewSlot(uuid=f"cpu:{n}", purpose="train", name="CPU") for n in range(settings.train_slots)]
        return (*train, *light)
    serving = [find(gpus, name) for name in settings.serve_gpus]
    slots = [
        NewSlot(
            uuid=gpu.uuid,
            purpose="serve" if gpu in serving else "train",
            is_gpu=True,
            name=gpu.name,
            memory=gpu.memory,
            set_aside=_why_set_aside(gpu, settings.gpu_busy_bytes),
        )
        for gpu in gpus
    ]
    return (*slots, *light)


def _why_set_aside(gpu: Gpu, busy_bytes: int) -> str | None:
    if gpu.used < busy_bytes:
        return None
    by = f"{gpu.processes} processes" if gpu.processes else "processes not seen from here"
    return f"{gpu.used / 2**30:.1f} GiB of it are used by {by} that no run of this service started"
