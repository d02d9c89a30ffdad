import pytest
import typer

from detco_client.cli.values import grid_of, one_of, pairs


def test_values_of_a_grid_are_a_list_or_words_between_commas() -> None:
    found = grid_of(["optim.lr=0.01,0.03", "seed=[1,2]", "train.steps=5", "views.augment=paper,none"], "--grid")
    assert found == {"optim.lr": [0.01, 0.03], "seed": [1, 2], "train.steps": [5], "views.augment": ["paper", "none"]}
    with pytest.raises(typer.BadParameter, match="is not KEY=VALUE"):
        grid_of(["seed"], "--grid")


def test_a_value_is_json_where_it_can_be() -> None:
    words = [
        "train.steps=60",
        "views.flip=0.5",
        "method.name=detco",
        "a=[1, 2]",
        "b=true",
        "c=null",
        'd="1"',
        "e=x=y",
        "f=",
    ]
    assert pairs(words, "--set") == {
        "train.steps": 60,
        "views.flip": 0.5,
        "method.name": "detco",
        "a": [1, 2],
        "b": True,
        "c": None,
        "d": "1",
        "e": "x=y",
        "f": "",
    }


@pytest.mark.parametrize("word", ["train.steps", "=5", ""])
def test_a_word_without_a_key_or_a_value_is_named(word: str) -> None:
    with pytest.raises(typer.BadParameter, match="KEY=VALUE"):
        pairs([word], "--set")


def test_exactly_one_source_is_needed() -> None:
    one_of(run="r", model=None, random=False)
    for given in ({"run": None, "model": None}, {"run": "r", "model": "m"}):
        with pytest.raises(typer.BadParameter, match="exactly one of --run, --model"):
            one_of(**given)
