"""Made-up lines of manifests."""

from typing import Any

from hypothesis import strategies as st

from detco_core.contract.datasets import DatasetFile

WORDS = st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
COUNTS = st.integers(0, 2**40)
CONTAINERS = st.none() | st.sampled_from(["a.tar", "b/c.tar", "."])


def contained(container: str | None, position: int, **fields: Any) -> DatasetFile:
    return DatasetFile(container=container, position=None if container is None else position, **fields)


FILES = st.lists(
    st.builds(
        contained,
        container=CONTAINERS,
        position=COUNTS,
        path=st.text(st.characters(codec="utf-8", exclude_characters="/."), min_size=1, max_size=12),
        bytes=COUNTS,
        width=COUNTS,
        height=COUNTS,
        channels=st.integers(0, 4),
        label=WORDS,
        split=WORDS,
    ),
    max_size=12,
    unique_by=lambda file: file.path,
)
