"""Sorting and reporting more than is held in memory."""

from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.datasets import BrokenFile
from detco_core.data.spill import BrokenFiles, in_order


@given(st.lists(st.tuples(st.text(max_size=4), st.integers(-5, 5))), st.integers(1, 7))
def test_in_order_is_sorted_whatever_fits_in_memory(records: list[tuple[str, int]], most: int) -> None:
    assert list(in_order(iter(records), most)) == sorted(records)


def test_several_orders_are_read_side_by_side_also_with_names_that_are_no_text() -> None:
    first, second = (in_order(((f"{n}\udcff",) for n in range(2500, 0, -1)), 1100) for _ in range(2))
    assert [one == other for one, other in zip(first, second, strict=True)] == [True] * 2500


def test_reports_keep_their_order_and_can_be_read_again() -> None:
    broken = BrokenFiles()
    for n in range(2300, 0, -1):
        broken.append(f"{n:04d}", "torn")
    assert len(broken) == 2300
    assert [file.path for file in broken] == [f"{n:04d}" for n in range(2300, 0, -1)]
    assert next(broken.by_path()) == BrokenFile(path="0001", reason="torn")
    broken.append("0000", "late")
    assert [next(broken.by_path()).reason, len(list(broken))] == ["late", 2301]
