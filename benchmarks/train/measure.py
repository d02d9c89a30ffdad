"""Runs the rounds of one plan: method and bare passes turn about, input, FLOPs, memory."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.train.cases import Case, open_bare, open_method
from benchmarks.train.plan import INPUT_PARTS, Part, Plan
from benchmarks.train.spans import CpuClock, Timeline
from detco_core.data.images import open_image
from detco_core.data.synthetic import write_photos
from detco_core.runtime.device import open_device
from detco_core.views.pipeline import ViewPipeline, sample_rng

METHOD, BARE = "method", "bare"
SIDES = (METHOD, BARE)
PHOTO_SIZE = (400, 300)
INPUT_IMAGES = 16
"""Decoded and viewed each round; the times are scaled to a batch."""
_MATMUL_SIDE = {"cpu": 2048, "cuda": 8192}
_MATMUL_ROUNDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One turn of one side."""

    parts: Mapping[str, float]
    """Milliseconds a step, of the clock's kind."""
    wall: float
    """Seconds a step, by the wall."""

    @property
    def step(self) -> float:
        """Milliseconds of a step, input left out."""
        return sum(value for part, value in self.parts.items() if part not in INPUT_PARTS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """All that is known about a plan afterwards."""

    plan: Plan
    unit: str
    rounds: Mapping[str, Sequence[Round]]
    """Of the method and of the bare passes, equally many."""
    flops: Mapping[str, int]
    """Of a step: matrix products and convolutions, a multiply-add as two."""
    matmul: float
    """FLOP a second of a square matrix product, by the same clock and in the same precision."""
    peak: Mapping[str, int | None]
    """Bytes of memory above those held before the side was built."""


def measure(plan: Plan, rounds: int, steps: int, warmup: int) -> Measured:
    """Measure `rounds` rounds of `steps` steps after `warmup` steps of each side."""
    open_device(plan.config.device, 0)
    clock = plan.clock()
    timeline: Timeline[Any] = Timeline(clock)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as cleanup:
        photos = write_photos(Path(folder) / "photos", max(plan.batch, INPUT_IMAGES), PHOTO_SIZE)
        cases, peak = _open(plan, Path(folder), timeline, cleanup)
        flops = {side: count_flops(case) for side, case in cases.items()}
        taken: dict[str, list[Round]] = {side: [] for side in SIDES}
        for case in cases.values():
            case.run(warmup)
        timeline.take()
        for number in range(rounds):
            for side, case in cases.items():
                taken[side].append(take_round(case, timeline, steps))
            taken[METHOD][-1] = _with_input(taken[METHOD][-1], time_input(plan, photos, number))
    return Measured(
        plan=plan, unit=clock.unit, rounds=taken, flops=flops, matmul=matmul_rate(plan, timeline), peak=peak
    )


def take_round(case: Case, timeline: Timeline[Any], steps: int) -> Round:
    """Run a round and read its times, as means over its steps."""
    start = time.perf_counter()
    case.run(steps)
    parts = timeline.take()
    wall = time.perf_counter() - start
    return Round(parts={part: value / steps for part, value in parts.items()}, wall=wall / steps)


def time_input(plan: Plan, photos: Sequence[Path], epoch: int) -> dict[str, float]:
    """CPU milliseconds of decoding a batch and of making its views, on one thread."""
    config = plan.config
    pipeline = ViewPipeline(config.views, local=True)
    timeline = Timeline(CpuClock())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for index, path in enumerate(photos[:INPUT_IMAGES]):
        timeline.switch(Part.DECODE)
        image = open_image(path, config.data.decode_short_side)
        timeline.switch(Part.VIEWS)
        pipeline(image, sample_rng(config.seed, epoch, index))
    torch.set_num_threads(threads)
    return {part: value * plan.batch / INPUT_IMAGES for part, value in timeline.take().items()}


def count_flops(case: Case) -> int:
    """FLOPs of one step, counted while it runs."""
    with FlopCounterMode(display=False) as counter:
        case.run(1)
    return int(counter.get_total_flops())


def matmul_rate(plan: Plan, timeline: Timeline[Any]) -> float:
    """FLOP a second of the best of some square matrix products: what this device can do when it does nothing else.

    In fp32 on a GPU with TensorFloat-32 when convolutions have it, so that like is compared with like.
    """
    side = _MATMUL_SIDE[plan.kind] // (8 if plan.small else 1)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[plan.precision]
    a, b = (torch.randn(side, side, device=plan.device, dtype=dtype) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    if plan.kind == "cuda" and torch.backends.cudnn.allow_tf32:
        torch.set_float32_matmul_precision("high")
    times = []
    for _ in range(_MATMUL_ROUNDS):
        with timeline.inside("matmul"):
            torch.mm(a, b)
        times.append(timeline.take()["matmul"])
    torch.set_float32_matmul_precision(before)
    return 2 * side**3 / (min(times) / 1000)


def _open(
    plan: Plan, folder: Path, timeline: Timeline[Any], cleanup: ExitStack
) -> tuple[dict[str, Case], dict[str, int | None]]:
    """Both sides, and the peak memory of each."""
    if plan.kind == "cpu":
        peak = {side: in_child(peak_resident, plan, side, folder) for side in SIDES}
        return {side: _build(plan, side, folder, timeline, cleanup) for side in SIDES}, dict(peak)
    cases: dict[str, Case] = {}
    on_gpu: dict[str, int | None] = {}
    for side in SIDES:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        cases[side] = _build(plan, side, folder, timeline, cleanup)
        cases[side].run(2)
        on_gpu[side] = torch.cuda.max_memory_allocated() - before
    return cases, on_gpu


def _build(plan: Plan, side: str, folder: Path, timeline: Timeline[Any], cleanup: ExitStack) -> Case:
    if side == METHOD:
        return cleanup.enter_context(open_method(plan, folder / "photos", folder / "job", timeline))
    return open_bare(plan, timeline)


def in_child(work: Callable[..., Any], *arguments: object) -> Any:
    """What `work` returns in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak_resident(plan: Plan, side: str, folder: Path) -> int | None:
    """Bytes by which this process, which should be fresh, grows at most while it builds a side and does two steps."""
    open_device(plan.config.device, 0)
    before = resident("VmRSS")
    with ExitStack() as cleanup:
        # Two: the optimizer's state is there from the first step's end on.
        _build(plan, side, folder, Timeline(CpuClock()), cleanup).run(2)
    after = resident("VmHWM")
    return None if before is None or after is None else after - before


def resident(field: str) -> int | None:
    """Bytes of a field of this process's memory (`VmRSS` now, `VmHWM` at most so far); None where there is no /proc."""
    status = Path(f"/proc/{os.getpid()}/status")
    if not status.exists():
        return None
    found = (line.split() for line in status.read_text("utf-8").splitlines() if line.startswith(f"{field}:"))
    return next((1024 * int(words[1]) for words in found), None)


def _with_input(taken: Round, parts: Mapping[str, float]) -> Round:
    return Round(parts={**parts, **taken.parts}, wall=taken.wall)
