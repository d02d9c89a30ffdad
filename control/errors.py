"""Errors of the control plane, all of them.

::

    ControlError
    ├── NotFound             no such object
    ├── Conflict             the request is fine, the state of things forbids it
    │   ├── IllegalMove      an action that is not lawful in the run's state; names those that are
    │   ├── AlreadyExists    the name is taken
    │   ├── NotReady         the thing exists but cannot be used (yet): still scanning, exporting, no checkpoint
    │   ├── InProgress       the same request is being answered at this moment
    │   ├── QuotaExceeded    the token may have no more of it now
    │   ├── OtherOffset      bytes of an upload that do not begin where the last ones ended
    │   └── InUse            others depend on it; names them
    ├── InvalidRequest       the request itself is wrong (every fault, with its path)
    │   ├── ForbiddenRoot    a data set outside the allowed roots
    │   └── KeyReused        an Idempotency-Key came again with another body
    ├── StaleVersion         If-Match names an older version of the row
    ├── Unauthorized         no token, or one that is unknown, expired or revoked
    ├── Forbidden            the token lacks the scope or the model
    ├── BadArchive           an archive is damaged, or holds what is not taken from strangers
    ├── SettingsError        the service is configured so that it cannot start
    └── StoreError           the artifact store failed
        ├── StoreFull        there is no room in it
        ├── BeingRemoved     the artifact is on its way out: store it again in a moment
        ├── ArtifactMissing  it has no such artifact
        └── DigestMismatch   the bytes are not those their digest names

Each message names the thing and the remedy; `code` is a stable word for machines. HTTP status codes are not known here.
"""

from collections.abc import Sequence
from typing import ClassVar

from detco_core.contract.errors import Fault


class ControlError(Exception):
    """Base of every error raised on purpose by `control`."""

    code: ClassVar[str] = "internal"


class NotFound(ControlError):
    """There is no such object."""

    code = "not_found"

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"there is no {kind} {name!r}")


class Conflict(ControlError):
    """The state of things forbids the request."""

    code = "conflict"


class IllegalMove(Conflict):
    """The action is not lawful in this state; `available` holds those that are."""

    code = "illegal_move"

    def __init__(self, action: str, state: str, available: tuple[str, ...]) -> None:
        self.action = action
        self.state = state
        self.available = available
        lawful = f"lawful now: {', '.join(available)}" if available else "nothing can be asked of it any more"
        super().__init__(f"cannot {action} a run that is {state}; {lawful}")


class AlreadyExists(Conflict):
    """The name is taken."""

    code = "already_exists"


class NotReady(Conflict):
    """The thing exists but cannot be used (yet)."""

    code = "not_ready"


class InProgress(Conflict):
    """A request with the same Idempotency-Key is being answered; ask again in a moment."""

    code = "request_in_progress"


class QuotaExceeded(Conflict):
    """The token may not have that much at once."""

    code = "quota_exceeded"


class InUse(Conflict):
    """Others depend on it; `holders` names them."""

    code = "in_use"

    def __init__(self, what: str, holders: Sequence[str]) -> None:
        self.holders = tuple(holders)
        super().__init__(f"{what} is held by {', '.join(self.holders)}; remove those first")


class OtherOffset(Conflict):
    """Bytes of an upload begin elsewhere than where the last ones ended; `received` says where that is."""

    code = "other_offset"

    def __init__(self, upload: str, start: int, received: int) -> None:
        self.received = received
        super().__init__(f"{received} bytes of upload {upload} are there: go on from byte {received}, not {start}")


class InvalidRequest(ControlError):
    """The request itself is wrong; `faults` lists everything wrong with it."""

    code = "invalid_request"

    def __init__(self, path: str, message: str, *more: Fault) -> None:
        self.faults = (Fault(path, message), *more)
        super().__init__("; ".join(map(str, self.faults)))


class ForbiddenRoot(InvalidRequest):
    """A data set resolves, symlinks followed, outside every allowed root."""

    code = "forbidden_root"


class KeyReused(InvalidRequest):
    """An Idempotency-Key came again with another body."""

    code = "idempotency_key_reused"


class StaleVersion(ControlError):
    """The row has moved on since the caller read it; `current` is its version (ETag) now."""

    code = "stale_version"

    def __init__(self, what: str, expected: int, current: int) -> None:
        self.current = current
        super().__init__(f"{what} is at version {current}, not {expected}: read it again, then decide")


class Unauthorized(ControlError):
    """No token, or one that is unknown, expired or revoked."""

    code = "unauthorized"


class Forbidden(ControlError):
    """The token may not do this."""

    code = "forbidden"


class SettingsError(ControlError):
    """The service is configured so that it cannot start."""

    code = "settings"


class BadArchive(ControlError):
    """An archive is damaged, or holds what is not taken from strangers."""

    code = "bad_archive"


class StoreError(ControlError):
    """The artifact store failed."""

    code = "store_unavailable"


class StoreFull(StoreError):
    """There is no room in the store."""

    code = "store_full"


class BeingRemoved(StoreError):
    """The artifact is being deleted: store it again in a moment."""

    code = "being_removed"


class ArtifactMissing(StoreError):
    """The artifact store has no such artifact."""

    code = "artifact_missing"


class DigestMismatch(StoreError):
    """The bytes are not those their digest names."""

    code = "digest_mismatch"

    def __init__(self, what: str, expected: str, actual: str) -> None:
        super().__init__(f"{what} has digest {actual}, not {expected}: it is damaged or was changed; write it again")
