"""What is asked of onnxruntime, option by option."""

import mmap
import os
from pathlib import Path

import onnxruntime as ort
import pytest

from detco_core.inference.sessions.execution import (
    CPU,
    CUDA,
    RECORDED,
    Execution,
    Precision,
    available_providers,
    provider_options,
    session_options,
)


def test_the_cpu_needs_no_options() -> None:
    assert provider_options(Execution(providers=(CPU,), gpu_memory=5)) == [(CPU, {})]


def test_the_gpus_memory_is_bounded_and_new_sizes_cost_no_search() -> None:
    asked = provider_options(Execution(providers=(CUDA, CPU), gpu_memory=2**30))
    assert asked == [
        (
            CUDA,
            {
                "device_id": "0",
                "arena_extend_strategy": "kSameAsRequested",
                "cudnn_conv_algo_search": "HEURISTIC",
                "use_tf32": "0",
                "gpu_mem_limit": "1073741824",
            },
        ),
        (CPU, {}),
    ]
    assert "gpu_mem_limit" not in provider_options(Execution(providers=(CUDA, CPU)))[0][1]


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "0"), ("tf32", "1"), ("fp16", "0")])
def test_numbers_are_rounded_only_where_that_was_asked_for(precision: Precision, expected: str) -> None:
    asked = provider_options(Execution(providers=(CUDA, CPU), precision=precision))
    assert asked[0][1]["use_tf32"] == expected


def test_what_runs_where_nothing_is_said() -> None:
    assert Execution().order == available_providers()
    assert Execution(providers=(CUDA,)).order == (CUDA,)


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (None, len(os.sched_getaffinity(0)))])
def test_the_sessions_options(threads: int | None, expected: int) -> None:
    options = session_options(Execution(threads=threads))
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (expected, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_cpu_mem_arena
    other = session_options(Execution(spin_us=20, arena=True))
    assert other.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert other.get_session_config_entry("session.intra_op.spin_duration_us") == "20"
    assert other.enable_cpu_mem_arena


def test_a_gpus_session_plans_no_memory_by_size_and_tells_where_nodes_run() -> None:
    on_gpu, on_cpu = (session_options(Execution(providers=order)) for order in ((CUDA, CPU), (CPU,)))
    assert (on_gpu.enable_mem_pattern, on_cpu.enable_mem_pattern) == (False, True)
    assert on_gpu.get_session_config_entry(RECORDED) == "1"


def test_the_options_are_among_those_the_provider_knows() -> None:
    library = Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if not library.exists():
        pytest.skip("this onnxruntime was built without CUDA")
    execution = Execution(providers=(CUDA,), gpu_memory=1)
    ((_, options),) = provider_options(execution)
    words = {*options, options["arena_extend_strategy"], options["cudnn_conv_algo_search"]}
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        assert [word for word in words if content.find(word.encode()) < 0] == []
