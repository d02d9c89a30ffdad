"""What an answer may hold: counted image by image, what laying out copies included, before anything is computed."""

import pytest

from detco_core.contract.manifest import read_manifest
from detco_core.inference.pictures.images import Size
from detco_core.inference.pictures.preprocess import Geometry
from server.features.errors import Overloaded, ReplyTooLarge
from server.features.limits import EngineLimits
from server.features.models.catalog import FolderCatalog
from server.features.options import FeatureOptions
from server.features.replies.budget import Budget
from server.features.reply_memory import ReplyBytes, Reservation
from server.features.schemas import FeatureRequest, Format, ImageFacts

SIZE = Size(64, 64)
FACTS = ImageFacts("PNG", 1, Geometry(SIZE, SIZE, SIZE, SIZE), None, animated=False)
WIDTH = 10
"""Values of the mean of the tiny network's last level."""


def budget(catalog: FolderCatalog, memory: ReplyBytes, form: Format, reply_bytes: int = 10**6) -> Budget:
    bundle = next(iter(catalog.bundles.values()))
    request = FeatureRequest((), FeatureOptions(pool="avg"), form)
    return Budget(request, read_manifest(bundle), EngineLimits(reply_bytes=reply_bytes), Reservation(memory))


def test_tensors_and_what_is_copied_of_them_are_held(catalog: FolderCatalog) -> None:
    memory = ReplyBytes(10**6)
    ours = budget(catalog, memory, Format(bytes_per_value=10))
    ours.reserve(FACTS)
    ours.reserve(FACTS)
    assert memory.held == 2 * WIDTH * (4 + 10)


def test_a_format_bounds_the_values_of_all_images_together(catalog: FolderCatalog) -> None:
    memory = ReplyBytes(10**6)
    ours = budget(catalog, memory, Format(max_values=2 * WIDTH, bytes_per_value=10))
    ours.reserve(FACTS)
    ours.reserve(FACTS)
    with pytest.raises(ReplyTooLarge, match=f"at least {3 * WIDTH} values") as refused:
        ours.reserve(FACTS)
    assert refused.value.format_only
    assert memory.held == 2 * WIDTH * (4 + 10)


def test_an_answer_is_bounded_by_its_tensors_and_not_by_what_is_copied(catalog: FolderCatalog) -> None:
    ours = budget(catalog, ReplyBytes(10**6), Format(bytes_per_value=1000), reply_bytes=8 * WIDTH)
    ours.reserve(FACTS)
    ours.reserve(FACTS)
    with pytest.raises(ReplyTooLarge, match=f"more than {8 * WIDTH} bytes"):
        ours.reserve(FACTS)


def test_answers_that_are_not_read_leave_no_room(catalog: FolderCatalog) -> None:
    memory = ReplyBytes(100)
    other = Reservation(memory)
    other.take(99)
    with pytest.raises(Overloaded):
        budget(catalog, memory, Format()).reserve(FACTS)
    assert memory.held == 99
