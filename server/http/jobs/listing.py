"""Lists of jobs: what every kind of job may be filtered by."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from sqlalchemy.orm import Session

from control.db.models import Run
from control.records.paging import Listing, Page
from control.records.runs.runs import list_runs
from control.states import State
from server.http.deps import WantedPage


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs of a kind, and what part of their list; what is None does not matter."""

    page: Page
    state: State | None
    label: str | None
    group: str | None

    def find(self, session: Session, kind: str) -> Listing[Run]:
        """Newest first."""
        return list_runs(session, (kind,), state=self.state, label=self.label, group=self.group, page=self.page)


def _filter(
    page: WantedPage,
    state: State | None = None,
    label: Annotated[str | None, Query(description="`key` or `key=value`.", max_length=300)] = None,
    group: Annotated[str | None, Query(max_length=200)] = None,
) -> JobFilter:
    return JobFilter(page, state, label, group)


WantedJobs = Annotated[JobFilter, Depends(_filter)]
