"""How many boxes a file has, told without parsing it: an estimate hangs on it, and the job reads it in earnest."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from control.errors import InvalidRequest
from control.records.planning.extractions import Boxes, find_boxes
from server.http.deps import Services

MAX_BYTES = 2**30
_PIECE = 2**20
_LONGEST = 2**16
"""Bytes after which a word is no word of ours."""
_COCO, _COCO_BOX = b'"annotations"', b'"bbox"'


def open_boxes(services: Services, uri: str) -> Boxes:
    """The file of boxes that a request names, with their number.

    Raises:
        InvalidRequest, ForbiddenRoot, NotReady: see `find_boxes`; or it is too large, or cannot be read.
    """
    with services.look() as session:
        found = find_boxes(session, uri, services.settings.resolved_dataset_roots)
    path = Path(found.place) if found.digest is None else services.reading.find(found.digest).path
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InvalidRequest("boxes_from", f"has {size} bytes; a file of boxes may have {MAX_BYTES}")
        return replace(found, count=count_boxes(path))
    except OSError as error:
        raise InvalidRequest("boxes_from", f"{uri[:200]!r} cannot be read: {error.strerror}") from error


def count_boxes(path: Path) -> int:
    """Boxes in a mapping by image, or in COCO annotations."""
    annotated = boxes = lists = keys = 0
    for piece in _pieces(path):
        annotated += piece.count(_COCO)
        boxes += piece.count(_COCO_BOX)
        lists += piece.count(b"[")
        keys += piece.count(b":")
    # In a mapping, each image's list holds a list a box.
    return boxes if annotated else max(0, lists - keys)


def _pieces(path: Path) -> Iterator[bytes]:
    """A piece ends at a bracket or comma, so that no word is cut in two."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            rest = b""
            while piece[-1:] not in b"[],{}" and len(rest) < _LONGEST and (more := file.read(1)):
                rest += more
                piece += more
            yield piece
