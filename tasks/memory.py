"""Memory that was freed goes back to the system between steps that need much of it for different things."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa


def release() -> None:
    """Arrow's pool and glibc keep what was freed, each for its own next use: let both give it back.

    It changes what the process holds, never what is computed. Where the C library is another, only Arrow's is given.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
