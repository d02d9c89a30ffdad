"""What can be refused of a request before any image is looked at."""

from detco_core.contract.errors import BundleError, Fault, InvalidDocument
from server.features.errors import OtherWeights, UnknownLevel
from server.features.models.loaded import Loaded
from server.features.schemas import FeatureRequest


def check_count(images: int, most: int, of_token: int | None) -> None:
    """Raise `InvalidDocument` for more images than a request may have, or than its token's bound would ever let in."""
    if images > most:
        why = f"the request has {images} images; at most {most} are taken: send several"
        raise InvalidDocument("request", (Fault("images", why),))
    if of_token is not None and images > of_token:
        why = f"the request has {images} images, and its token may have {of_token} under way at once: send several"
        raise InvalidDocument("request", (Fault("images", why),))


def check_boxes(request: FeatureRequest, most: int) -> None:
    """Raise `InvalidDocument` unless there is one list of boxes an image, and not more boxes than `most` in all."""
    boxes, images = request.options.boxes, len(request.images)
    if boxes is None:
        return
    if len(boxes) != images:
        why = f"holds the boxes of {len(boxes)} images, the request has {images}: give one list an image"
        raise InvalidDocument("request", (Fault("boxes", why),))
    if (count := sum(map(len, boxes))) > most:
        raise InvalidDocument(
            "request", (Fault("boxes", f"holds {count} boxes; at most {most} are taken: send several"),)
        )


def check_model(request: FeatureRequest, loaded: Loaded) -> None:
    """Refuse what a model does not have.

    Raises:
        OtherWeights: its weights are not those that the request relies on.
        UnknownLevel: it has no level of a name asked for.
    """
    expected, digest = request.options.expect_digest, loaded.version.digest
    if expected is not None and expected != digest:
        raise OtherWeights(f"{loaded.version} has the weights {digest}, the request expects {expected[:100]}")
    try:
        request.selection.levels_of(loaded.manifest)
    except BundleError as error:
        raise UnknownLevel(str(error)) from error
