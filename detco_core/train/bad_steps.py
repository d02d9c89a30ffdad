"""Steps whose numbers are NaN or infinite: kept for replay, skipped, and the run ended when they do not stop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from detco_core.contract.errors import NumericsError
from detco_core.contract.events import Warned
from detco_core.contract.jobs import PretrainJob
from detco_core.data.loaders import Batch
from detco_core.runtime import distributed
from detco_core.train import replay
from detco_core.train.narrator import NAMED_FILES, Narrator
from detco_core.train.state import Stateful
from detco_core.train.step import Outcome

REMEDY = "lower optim.lr, add optim.warmup_steps, or use device.precision fp32; continue from an earlier checkpoint"


@dataclass(kw_only=True)
class BadSteps:
    """Counts the steps that changed no weight."""

    job: PretrainJob
    narrator: Narrator
    name_of: Callable[[int], str]
    """Name of an image by its place in the data set."""
    skipped: int = 0
    """So far in this attempt, fp16's overflows included."""
    in_a_row: int = 0
    """Bad ones without a good one between."""

    def saw(self, batch: Batch, outcome: Outcome, run: Stateful) -> None:
        """Take note of a step just made; all processes take part.

        Raises:
            NumericsError: more bad steps in a row than `alarms.skip_bad_steps`.
            CheckpointError: a bad step cannot be written for replay.
        """
        self.skipped += outcome.skipped is not None
        self.in_a_row = self.in_a_row + 1 if outcome.skipped == "bad" else 0
        if outcome.skipped != "bad":
            return
        name = self._keep(batch, outcome, run)
        limit, step = self.job.config.alarms.skip_bad_steps, batch.step + 1
        if self.in_a_row > limit:
            skipped = f" ({limit} before it were skipped)" if limit else ""
            raise NumericsError(
                f"the loss or its gradient became NaN or infinite at step {step}{skipped}: {REMEDY}; {name} holds the "
                "step for detco_core.train.replay"
            )

    def state_dict(self) -> dict[str, int]:
        """Bad steps in a row: a stop among them does not begin the count anew."""
        return {"in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from what `state_dict` gave."""
        self.in_a_row = state["in_a_row"]

    def _keep(self, batch: Batch, outcome: Outcome, run: Stateful) -> str:
        """Write the step for replay, by the first process whose own loss is bad, and tell of it; its file's name."""
        culprits = distributed.collect(not outcome.loss.isfinite().item())
        rank = culprits.index(True) if True in culprits else 0
        step = batch.step + 1
        path = Path(self.job.folder) / replay.FOLDER / f"step-{step:08d}.pt"
        images = [self.name_of(int(index)) for index in batch.indices]
        state = replay.describe(self.job, batch, run, images)
        saved = replay.write(path, state) if distributed.rank() == rank else None
        file = distributed.collect(saved)[rank]
        images, indices = distributed.collect((images, batch.indices.tolist()))[rank]
        self.narrator.kept(file)
        name = path.relative_to(self.job.folder).as_posix()
        message = f"step {step} gave NaN or infinity and changed nothing; {name} holds it for replay"
        self.narrator.warn(
            Warned(
                code="bad_step",
                message=message,
                details={
                    "step": step,
                    "loss": str(outcome.loss.item()),
                    "rank": rank,
                    "images": images[:NAMED_FILES],
                    "indices": indices[:NAMED_FILES],
                    "replay": name,
                },
            )
        )
        return name
