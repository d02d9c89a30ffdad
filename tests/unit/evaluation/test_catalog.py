"""The core answers exactly the tasks the contract names."""

from detco_core.contract.evaluations import TASKS as CONTRACT
from detco_core.evaluation.catalog import TASKS


def test_every_task_of_the_contract_has_an_answer() -> None:
    assert TASKS.keys() == CONTRACT.keys()
