"""One opened model, warm, in use by those who hold it and closed when the last one lets go."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import Manifest
from detco_core.inference.sessions.execution import CPU, Execution
from detco_core.inference.sessions.session import Session
from server.features.batcher import ComputeOwner
from server.features.models.catalog import VersionRef
from server.features.models.warming import check_outputs, warm
from server.features.schemas import ModelIdentity
from server.features.turns import Turns
from server.features.waiting import Batching


class Loaded:
    """A model ready to answer."""

    def __init__(
        self, version: VersionRef, session: Session, owner: ComputeOwner, ahead: int, done: Callable[[], None]
    ) -> None:
        """`done` is called once it is closed."""
        self.version = version
        self.session = session
        self.owner = owner
        self.ahead = Turns(ahead)
        """Held from decode to the end of compute: bounds the decoded images that wait for this model."""
        self.last_used = time.monotonic()
        self._done = done
        self._users = 0
        self._retired = False
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        version: VersionRef,
        bundle: Path,
        execution: Execution,
        ahead: int,
        batching: Batching | None = None,
        done: Callable[[], None] = lambda: None,
    ) -> "Loaded":
        """Open and warm a bundle; a model that fell back to the CPU runs one image at a time.

        `done` is called once the model is closed, and needs its bundle no more.

        Raises:
            BundleError: when the bundle is damaged, holds other weights than the records say, or does not give what
                its manifest promises.
        """
        session = Session.open(bundle, execution)
        if session.manifest.weights_digest != version.digest:
            raise BundleError(f"{version}: the bundle holds {session.manifest.weights_digest}, not {version.digest}")
        asked_for_gpu = execution.order[0] != CPU
        fell_back = session.provider == CPU and asked_for_gpu
        batching = Batching() if batching is None or fell_back else batching
        check_outputs(session)
        warm(session, batching.images)
        owner = ComputeOwner(session, str(version), batching, brings_ahead=session.provider != CPU)
        owner.start()
        return cls(version, session, owner, ahead, done)

    @property
    def manifest(self) -> Manifest:
        return self.session.manifest

    @property
    def bytes(self) -> int:
        """Of the weights it holds: those of its file, once for the whole network and once for each part of it that runs
        by itself. What onnxruntime takes beside them is in proportion.
        """
        return self.manifest.files["onnx"].bytes * self.session.opened

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(
            self.version.model, self.version.number, self.version.digest, self.session.provider, self.session.precision
        )

    def hold(self) -> bool:
        """Begin to use it; False when it is closed already."""
        with self._lock:
            if self._retired and not self._users:
                return False
            self._users += 1
            self.last_used = time.monotonic()
            return True

    def let_go(self) -> None:
        """End the use that `hold` began."""
        with self._lock:
            self._users -= 1
            self._close_if_idle()

    def retire(self) -> None:
        """Close it as soon as nobody uses it."""
        with self._lock:
            self._retired = True
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._retired and not self._users:
            self.owner.close()
            self._done()
