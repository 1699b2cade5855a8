"""A pool of threads in each of which torch computes alone: sums do not depend on how many threads share one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

_guard = threading.Lock()
_inside = 0  # calls that now need one thread a batch
_threads_before = 1


@contextmanager
def one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads each compute alone; torch's own setting is restored when the last such call has ended."""
    import torch

    global _inside, _threads_before
    with _guard:
        if _inside == 0:
            _threads_before = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        # OpenMP keeps the number by thread: every thread of the pool sets its own.
        with ThreadPoolExecutor(workers, "toxicity", initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        with _guard:
            _inside -= 1
            if _inside == 0:
                torch.set_num_threads(_threads_before)
