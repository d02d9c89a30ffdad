"""The remedy names what the person has said about this kind of job, and no setting of another kind."""

from detco_core.contract.remedies import for_less_memory, for_less_memory_of_the_machine


def test_the_remedy_is_that_of_the_verb() -> None:
    assert "views.global_size" in for_less_memory("pretrain")
    assert "resize" in for_less_memory("extract")
    assert "more memory" in for_less_memory("import")


def test_the_machines_memory_is_not_the_gpus() -> None:
    assert for_less_memory_of_the_machine("pretrain") == "lower data.workers or train.batch_size"
    assert for_less_memory_of_the_machine("extract") == for_less_memory("extract")
    assert "more memory" in for_less_memory_of_the_machine("export")
