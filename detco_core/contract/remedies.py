"""What a person can do about a job that failed, by its verb: said by the job itself, and by who finds it dead."""

_LESS_MEMORY = {
    "pretrain": "lower train.batch_size or views.global_size, or use device.precision bf16",
    "evaluate": "lower the options batch_size, image_size or workers",
    "extract": "ask for smaller images (resize) or fewer at once (batch_size, shard_bytes)",
}
_LESS_OF_THE_MACHINE = {"pretrain": "lower data.workers or train.batch_size"}
_ANYWHERE = "give the job a machine with more memory, or fewer neighbours"


def for_less_memory(verb: str) -> str:
    """When memory ran out, of the machine or of its GPU."""
    return _LESS_MEMORY.get(verb, _ANYWHERE)


def for_less_memory_of_the_machine(verb: str) -> str:
    """When the kernel ended a process for it: never the GPU's."""
    return _LESS_OF_THE_MACHINE.get(verb) or for_less_memory(verb)
