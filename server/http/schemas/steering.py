"""Steering jobs after they were submitted: changes, resumption, many at once."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from control.records.runs.bounds import HIGHEST, LOWEST
from control.states import Action, DesiredState, State
from server.http.schemas.base import Body, Labels, ProblemView, Text, View
from server.http.schemas.jobs import Grace, Seconds

MOST_AT_ONCE = 500


class JobPatch(Body):
    """What is to be different; what is left out stays as it is, null takes away what may be absent.

    Of a job that has ended only name, labels and group.
    """

    name: Text | None = None
    labels: Labels = Field(default_factory=dict)
    """All of them: they take the place of those there are."""
    group: Text | None = None
    priority: int = Field(default=0, ge=LOWEST, le=HIGHEST)
    max_attempts: int = Field(default=3, ge=1, le=100)
    max_seconds: Seconds | None = None
    idle_seconds: Seconds | None = None
    grace_seconds: Grace | None = None
    preemptible: bool = True
    preempt: bool = False


class ResumeRequest(Body):
    """On what a paused run goes on."""

    gpus: int | None = Field(default=None, ge=1, le=1024)
    """On as many as before when it is left out."""
    allow_world_size_change: bool = False
    """Consent to another number of processes: batch norm groups change, so the numbers do."""


class ActionsRequest(Body):
    """One action on many jobs: on those of these ids, or on all of a group or label that have not ended."""

    action: Action
    ids: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MOST_AT_ONCE)] | None = None
    group: Text | None = None
    label: Text | None = None
    """`key` or `key=value`."""
    state: State | None = None
    """Of those of the group or label, only these."""

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        named = self.group is not None or self.label is not None
        if (self.ids is not None) == named or (self.ids is not None and self.state is not None):
            raise ValueError("give ids, or else group, label or both, and with these a state if you like")
        return self


class ActionResult(View):
    """What became of one job."""

    id: str
    ok: bool
    state: State | None
    desired_state: DesiredState | None
    problem: ProblemView | None
    """Why nothing did."""


class ActionResults(View):
    """What became of each job."""

    items: list[ActionResult]
    left: int
    """Further jobs of the group or label that were not asked: send the request again."""
