import re
import time

from control.db.ids import new_id


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = []
    for _ in range(3):
        ids.append(new_id("run"))
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"run_[0-9a-hjkmnp-tv-z]{26}", made) for made in ids)
    assert len({new_id("x") for _ in range(10_000)}) == 10_000
