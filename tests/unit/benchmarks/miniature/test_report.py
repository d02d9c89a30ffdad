from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.miniature.recipe import PROFILES
from benchmarks.miniature.report import Results, differences, markdown, summary, table


def runs(*scores: tuple[int, float, Sequence[float]]) -> list[dict[str, Any]]:
    return [
        {"seed": seed, "knn": knn, "few_labels": list(draws), "seconds": {"pretraining": 90.0, "evaluation": 1.0}}
        for seed, knn, draws in scores
    ]


@pytest.fixture
def results() -> Results:
    return {
        "random": runs((0, 20.0, [10.0, 30.0])),
        "moco_v2": runs((0, 40.0, [41.0, 43.0]), (1, 44.0, [44.0, 44.0])),
        "detco": runs((1, 41.0, [50.0, 52.0]), (0, 43.0, [46.0, 46.0])),
    }


def test_mean_and_standard_deviation_are_over_seeds_of_the_mean_over_draws(results: Results) -> None:
    found = summary(results)["detco"]["few_labels"]

    assert found["values"] == [51.0, 46.0]
    assert found["mean"] == 48.5
    assert found["spread"] == pytest.approx(2.5 * 2**0.5)
    assert summary(results)["random"]["knn"]["spread"] is None


def test_the_table_has_a_line_a_method_in_order(results: Results) -> None:
    lines = table(results).splitlines()

    assert lines[0].startswith("| backbone | seeds | 10-NN top-1 | linear probe")
    assert lines[2] == "| random | 1 | 20.0 (20.0) | 20.0 (20.0) | 1.5 |"
    assert lines[3] == "| moco_v2 | 2 | 42.0 ± 2.8 (40.0, 44.0) | 43.0 ± 1.4 (42.0, 44.0) | 1.5 |"
    assert len(lines) == 5


def test_a_method_without_results_yet_has_no_line(results: Results) -> None:
    assert "detco" not in table({**results, "detco": []})


def test_differences_are_taken_seed_by_seed_and_say_a_loss_as_it_is(results: Results) -> None:
    knn, probe = differences(results)

    assert "+0.0 points on average (+3.0, -3.0); ahead in 1 of 2 seeds" in knn
    assert "+5.5 points on average (+4.0, +7.0); ahead in 2 of 2 seeds" in probe


def test_seeds_that_only_one_method_has_are_not_compared(results: Results) -> None:
    assert differences({**results, "moco_v2": runs((7, 40.0, [40.0]))}) == []


def test_the_page_names_recipe_protocol_and_machine(results: Results) -> None:
    facts = {
        "images": 8,
        "train": 12,
        "val": 12,
        "classes": 3,
        "majority": 33.3,
        "machine": {"cpu": "Abacus", "gpus": []},
    }
    page = markdown(PROFILES["cpu"], 10, facts, results)

    for words in ("10 epochs over 8 unlabelled images", "`optim.lr`", "cpu Abacus", "33.3 %", table(results)):
        assert words in page
    assert "gpus" not in page
