"""Where shards end, by a slow reference."""

from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.datasets import DatasetFile
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.extraction.reading import Item, Ready
from detco_core.extraction.windows import windows


def item(number: int, size: int) -> Item:
    file = DatasetFile(path=str(number), bytes=0, width=0, height=0, channels=0)
    return Item(file, Ready(None, None, (), size))  # type: ignore[arg-type]  # only sizes are looked at


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(1, 5), st.integers(1, 4))
def test_every_image_once_in_order_and_shards_as_full_as_may_be(sizes: list[int], most: int, size: int) -> None:
    options = ExtractionOptions(shard_bytes=4096, shard_images=most)
    shards: list[list[int]] = [[]]
    for window in windows(iter([item(n, held) for n, held in enumerate(sizes)]), size, options):
        assert 0 < len(window) <= size
        shards[-1] += [int(one.file.path) for one in window.items]
        if window.ends_shard:
            shards.append([])
    assert shards.pop() == []
    expected: list[list[int]] = []
    for number, held in enumerate(sizes):
        fits = expected and len(expected[-1]) < most and sum(sizes[n] for n in expected[-1]) + held <= 4096
        expected[-1].append(number) if fits else expected.append([number])
    assert shards == expected
