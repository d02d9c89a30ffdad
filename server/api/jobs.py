"""The routes that every kind of job has: cancel and the other actions, events, attempts, files, the log."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Header, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse

from control.records.journal.history import get_artifact, list_events, page_artifacts, page_attempts
from control.records.scheduling.gangs import nodes_of
from control.states import Action
from server.http.answers.etags import IfMatch, expected_version
from server.http.answers.files import BINARY, StoredFile, send_file
from server.http.deps import Reader, Shared, Submitter, WantedPage
from server.http.jobs.follow import LastEventId, follow, look_at_events
from server.http.jobs.jobs import JobKind, require_model_of, send_word, steer
from server.http.jobs.logs import find_log, look_at_log
from server.http.schemas.base import Page
from server.http.schemas.jobs import ArtifactView, AttemptView, EventView, artifact_view, attempt_view, event_view

_DOES: dict[Action, str] = {
    "cancel": "Stop after saving; the job ends `cancelled`.",
    "pause": "Save and give the slots back; `resume` goes on from there.",
    "resume": "Queue a paused job again; it goes on from its last checkpoint.",
    "kill": "Cancel without waiting for a save.",
    "finish": "Save now and complete.",
}
_STREAM = "text/event-stream"
_ENDS = (
    "A stream lives ten minutes at most. Only its event `end` means that the job is over; a connection that just "
    "closes means: come back with `Last-Event-ID`."
)
FilePath = Annotated[str, Path(max_length=400, pattern=r"^[^\x00-\x1f]+$")]
EventTypes = Annotated[
    list[str] | None, Query(alias="type", max_length=20, description="Only these, e.g. `warning`; all when none.")
]
Accept = Annotated[str, Header(alias="Accept")]


def job_routes(kind: JobKind) -> APIRouter:
    """The routes of one kind of job, below its path."""
    router = APIRouter(prefix=kind.path, tags=[f"{kind.noun}s"])
    for action in kind.actions:
        _add_action(router, kind, action)
    _add_events(router, kind)
    _add_attempts(router, kind)
    _add_artifacts(router, kind)
    _add_log(router, kind)
    return router


def _add_action(router: APIRouter, kind: JobKind, action: Action) -> None:
    def act(
        who: Submitter,  # before the job: who may not ask learns nothing about what there is
        job: Annotated[str, Depends(kind.find)],
        services: Shared,
        request: Request,
        tasks: BackgroundTasks,
        if_match: IfMatch = None,
    ) -> Any:
        expected = expected_version(if_match)
        tasks.add_task(send_word, services, job)
        return steer(services, who, request, job, action, kind, expected)

    router.add_api_route(
        f"/{action}",
        act,
        methods=["POST"],
        response_model=kind.view,
        name=f"{action}_{kind.noun}",
        summary=f"{action.capitalize()} the {kind.noun}",
        description=f"{_DOES[action]} Asking again changes nothing; an unlawful move is 409 and names the lawful ones.",
    )


def _add_events(router: APIRouter, kind: JobKind) -> None:
    def events(
        who: Reader,
        job: Annotated[str, Depends(kind.find)],
        services: Shared,
        accept: Accept = "*/*",
        last_event_id: LastEventId = None,
        after: Annotated[int, Query(ge=0, lt=2**63, description="Only events with a greater id.")] = 0,
        types: EventTypes = None,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 500,
        page_token: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    ) -> Any:
        wanted = tuple(types or ())
        if _STREAM in accept:
            look = look_at_events(services, job, wanted)
            return follow(services, who, job, look, max(after, last_event_id or 0))
        with services.look() as session:
            rows = list_events(session, job, max(after, page_token), page_size, wanted)
        token = str(rows[-1].id) if len(rows) == page_size else None
        return Page(items=[event_view(row) for row in rows], next_page_token=token)

    router.add_api_route(
        "/events",
        events,
        response_model=Page[EventView],
        name=f"events_{kind.noun}",
        summary=f"What happened to the {kind.noun}, oldest first",
        description=f"JSON, or with `Accept: {_STREAM}` a stream: first what is there, then what comes. {_ENDS}",
    )


def _add_attempts(router: APIRouter, kind: JobKind) -> None:
    def attempts(
        _: Reader, job: Annotated[str, Depends(kind.find)], services: Shared, page: WantedPage
    ) -> Page[AttemptView]:
        with services.look() as session:
            found = page_attempts(session, job, page)
            nodes = nodes_of(session, job, [row.fence for row in found.items])
            items = [attempt_view(row, nodes.get(row.fence, ())) for row in found.items]
        return Page(items=items, next_page_token=found.next_page_token)

    router.add_api_route(
        "/attempts", attempts, name=f"attempts_{kind.noun}", summary=f"Every try at the {kind.noun}, oldest first"
    )


def _add_artifacts(router: APIRouter, kind: JobKind) -> None:
    def artifacts(
        _: Reader, job: Annotated[str, Depends(kind.find)], services: Shared, page: WantedPage
    ) -> Page[ArtifactView]:
        with services.look() as session:
            found = page_artifacts(session, job, page)
            return Page(items=[artifact_view(row) for row in found.items], next_page_token=found.next_page_token)

    def artifact(
        who: Reader,
        job: Annotated[str, Depends(kind.find)],
        artifact: FilePath,
        services: Shared,
        request: Request,
    ) -> Response:
        with services.look() as session:
            require_model_of(session, who, job)
            row = get_artifact(session, job, artifact)
        leaf = f"{job}-{row.name.rpartition('/')[2]}"
        return send_file(request, StoredFile.of_store(services.reading, leaf, row.digest))

    router.add_api_route(
        "/artifacts", artifacts, name=f"artifacts_{kind.noun}", summary=f"Files of the {kind.noun} but its checkpoints"
    )
    router.add_api_route(
        "/artifacts/{artifact:path}",
        artifact,
        response_class=Response,
        responses=BINARY,
        name=f"artifact_{kind.noun}",
        summary=f"Download a file of the {kind.noun}",
        description="By its name; Range, ETag and If-Range are honoured.",
    )


def _add_log(router: APIRouter, kind: JobKind) -> None:
    def log(
        who: Reader,
        job: Annotated[str, Depends(kind.find)],
        services: Shared,
        request: Request,
        accept: Accept = "*/*",
        last_event_id: LastEventId = None,
        attempt: Annotated[int | None, Query(ge=1, lt=2**31, description="The newest when it is left out.")] = None,
        node: Annotated[int, Query(ge=0, lt=2**31, description="Which of its hosts, where it has several.")] = 0,
        offset: Annotated[int, Query(ge=0, lt=2**40, description="Bytes to leave out at the beginning.")] = 0,
        limit: Annotated[int, Query(ge=1, lt=2**40, description="Bytes from there on.")] = 2**40 - 1,
    ) -> Any:
        if _STREAM in accept:
            return follow(services, who, job, look_at_log(services, job, node), last_event_id or 0)
        found = find_log(services, job, attempt, node).cut(offset, offset + limit)
        answer = send_file(request, found.as_file())
        answer.headers["X-Log-Next-Offset"] = str(max(offset, found.end))
        return answer

    router.add_api_route(
        "/logs",
        log,
        response_class=PlainTextResponse,
        name=f"log_{kind.noun}",
        summary=f"What the processes of the {kind.noun} have printed",
        description=f"Text, also by Range or from `offset`; with `Accept: {_STREAM}` a stream. {_ENDS} A long log "
        "keeps its beginning and its end; a line says how much was left out between. `offset` counts what was printed, "
        "and the header `X-Log-Next-Offset` says where to go on; Range counts what is sent.",
    )
