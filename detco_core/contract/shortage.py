"""Whether an error means that memory ran out: of torch, onnxruntime, NumPy or Pillow, by what they say.

onnxruntime has no exception for it, and by its binding raises a bare `RuntimeError`; torch may not be imported.
"""

_WORDS = (
    # torch, without a GPU
    "DefaultCPUAllocator: can't allocate memory",
    # onnxruntime, without and with its arena; with the arena bounded (`gpu_mem_limit`)
    "std::bad_alloc",
    "Failed to allocate memory for requested buffer",
    "is smaller than requested bytes of",
    # CUDA's runtime, cuBLAS and cuDNN, in onnxruntime's words
    "CUDA failure 2: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    # CUDA's driver, of page-locked memory, in `inference.sessions.host_memory`'s
    "cuMemHostAlloc failed with status 2",
)


def is_out_of_memory(error: BaseException) -> bool:
    """That of the machine, or of its GPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in _WORDS)
    )
