"""What runs and evaluations share: the life of a job, its events and its log."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote

from detco_client.resources.jobs import ENDED, Attempt, Job, RecordedEvent
from detco_client.stream import StreamEvent, follow
from detco_client.transport import Transport
from detco_client.waiting import wait

J = TypeVar("J", bound=Job)


class Jobs(Generic[J]):
    """The calls every kind of job answers; `runs`, `evaluations` and `extractions` are such kinds."""

    resource = "jobs"

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, id: str) -> J:
        return cast(J, self._transport.get(self._path(id)))

    def cancel(self, id: str) -> J:
        """Stop at the next step, keep what was saved; the job ends as `cancelled`."""
        return self._act(id, "cancel")

    def pause(self, id: str) -> J:
        """Save and give the machine back; `resume` goes on from there."""
        return self._act(id, "pause")

    def resume(self, id: str) -> J:
        """Queue a paused job again."""
        return self._act(id, "resume")

    def kill(self, id: str) -> J:
        """Cancel without waiting for a save."""
        return self._act(id, "kill")

    def wait(self, id: str, timeout: float | None = None, on_change: Callable[[J], None] | None = None) -> J:
        """The job once it is completed; `on_change` sees it twice a second until then.

        Raises:
            JobFailed: when it failed, was cancelled or is paused, with the reason.
            WaitTimeout: when it is still at work after `timeout` seconds.
        """
        bad = (ENDED | {"paused"}) - {"completed"}
        what = self.resource.removesuffix("s")
        return wait(
            lambda: self.get(id), f"{what} {id}", good={"completed"}, bad=bad, timeout=timeout, on_change=on_change
        )

    def events(self, id: str, after: int = -1) -> Iterator[StreamEvent]:
        """Every event of the job behind the event `after`, as they come, until its end.

        A dropped connection is taken up again; the last event is of type `end`.
        """
        return follow(self._transport, f"{self._path(id)}/events", after)

    def history(self, id: str) -> Iterator[RecordedEvent]:
        """The events there are by now, oldest first."""
        return self._transport.items(f"{self._path(id)}/events")

    def attempts(self, id: str) -> Iterator[Attempt]:
        """Every try at the job, oldest first."""
        return self._transport.items(f"{self._path(id)}/attempts")

    def logs(self, id: str) -> str:
        """What the job's processes have printed by now."""
        return self._transport.send("GET", f"{self._path(id)}/logs", headers={"Accept": "text/plain"}).text

    def follow_logs(self, id: str) -> Iterator[str]:
        """What the job's processes print, as it comes, until the job ends."""
        for event in follow(self._transport, f"{self._path(id)}/logs"):
            if event.type != "end":
                yield str(event.data.get("text", ""))

    def delete(self, id: str, *, dry_run: bool = False) -> Any:
        """Delete one that has ended; answers what was made from it and stays, and the bytes freed.

        Raises:
            Conflict: it has not ended, or others need it; names them.
        """
        return self._transport.delete(self._path(id), {"dry_run": True} if dry_run else None)

    def _submit(self, body: dict[str, Any], key: str) -> J:
        return cast(J, self._transport.create(f"/v1/{self.resource}", body, key))

    def _act(self, id: str, action: str) -> J:
        return cast(J, self._transport.post(f"{self._path(id)}/{action}"))

    def _path(self, id: str) -> str:
        return f"/v1/{self.resource}/{quote(id, safe='')}"
