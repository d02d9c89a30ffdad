import json
from dataclasses import replace

import pytest

from benchmarks.train.measure import BARE, METHOD, Measured, Round
from benchmarks.train.plan import Part, Plan
from benchmarks.train.table import document, ratio, share, table

PLAN = Plan(preset="detco_r18", kind="cpu", precision="fp32", batch=8, threads=1, log_every=1, workers=0)


def rounds(*steps: tuple[float, float]) -> list[Round]:
    return [
        Round(parts={Part.DECODE: 5.0, Part.QUERY_FORWARD: a, Part.MOMENTUM: b}, wall=(a + b) / 1000) for a, b in steps
    ]


@pytest.fixture
def measured() -> Measured:
    bare = [Round(parts={Part.QUERY_FORWARD: ms}, wall=ms / 1000) for ms in (50.0, 40.0, 90.0)]
    return Measured(
        plan=PLAN,
        unit="CPU ms",
        rounds={METHOD: rounds((100.0, 10.0), (80.0, 20.0), (300.0, 30.0)), BARE: bare},
        flops={METHOD: 16 * 10**9, BARE: 8 * 10**9},
        matmul=320e9,
        peak={METHOD: 123_456_789, BARE: None},
    )


def row(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(name))
    return line.removeprefix(name).split()


def test_each_row_has_median_smallest_and_ratio_of_medians(measured: Measured) -> None:
    assert row(table(measured), Part.QUERY_FORWARD) == ["100.0", "(80.0)", "50.0", "(40.0)", "2.00"]
    assert row(table(measured), Part.MOMENTUM) == ["20.0", "(10.0)"]


def test_input_is_shown_and_left_out_of_the_step(measured: Measured) -> None:
    assert row(table(measured), Part.DECODE) == ["5.0", "(5.0)"]
    assert row(table(measured), "step, input left out") == ["110.0", "(100.0)", "50.0", "(40.0)", "2.20"]
    assert ratio(measured) == pytest.approx(2.2)


def test_images_a_second_come_from_the_wall_and_the_best_is_in_brackets(measured: Measured) -> None:
    assert row(table(measured), "images a second, input left out") == ["72.7", "(80.0)", "160.0", "(200.0)"]


def test_the_share_of_a_matmul_is_flops_over_the_clock_s_own_time(measured: Measured) -> None:
    assert share(measured, METHOD) == pytest.approx(16e9 / 0.110 / 320e9)
    assert share(measured, BARE) == pytest.approx(8e9 / 0.050 / 320e9)
    assert row(table(measured), "GFLOP an image") == ["2.0", "1.0"]


def test_memory_that_could_not_be_measured_is_called_unknown(measured: Measured) -> None:
    assert row(table(measured), "peak memory, MB") == ["123", "unknown"]


def test_the_heading_says_what_was_measured(measured: Measured) -> None:
    heading = table(replace(measured, plan=replace(PLAN, deterministic=True)))
    for words in (
        "detco_r18 on cpu",
        "batch 8",
        "fp32",
        "channels_last",
        "threads 1",
        "deterministic on",
        "320 GFLOP/s",
    ):
        assert words in heading


def test_the_document_is_json_with_every_round(measured: Measured) -> None:
    found = json.loads(json.dumps(document(measured)))

    assert [r["parts"]["momentum"] for r in found["rounds"]["method"]] == [10.0, 20.0, 30.0]
    assert found["derived"]["bare"]["images_per_second"] == 160.0
    assert found["plan"]["preset"] == "detco_r18"
