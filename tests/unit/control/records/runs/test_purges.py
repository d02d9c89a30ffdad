from control.records.runs.purges import KEPT, PURGED, pointing_at_runs


def test_every_table_of_a_run_goes_or_stays_on_purpose() -> None:
    """A new table that points at runs must say which; else a deleted run leaves rows for ever, or cannot go at all."""
    assert pointing_at_runs() == {*PURGED, *KEPT}
