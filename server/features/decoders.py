"""The threads in which images are decoded and answers finished."""

import threading
from concurrent.futures import ThreadPoolExecutor


class Decoders(ThreadPoolExecutor):
    """So many threads, and one more: at most one of them at a time computes what it has decoded."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads + 1, "decode")
        self.computing = threading.Lock()
        """Held by the one that computes, so that always as many as were asked for can decode."""
