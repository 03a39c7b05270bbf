"""The settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters from glibc's malloc.h."""

LARGEST_ARRAY = 1 << 30
"""Bytes. Smaller arrays use the memory of arrays that were freed."""

KEPT_MEMORY = (1 << 31) - 1
"""Bytes of freed memory that the process keeps at most; the largest value that glibc accepts."""


def keep_freed_memory() -> None:
    """Let this process reuse freed memory for the arrays of the next window.

    By default, glibc returns the memory of each array of more than 32 MB to the system, and dask
    makes its workers return 64 kB. The system clears each page again when the next array uses it,
    which takes a sixth of the CPU time of sharpening. Threads share one heap, because the heap that
    glibc makes for a thread holds at most 64 MB. Call it before other threads start. It has no
    effect with other C libraries.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_ARRAY)
        mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY)
        mallopt(M_ARENA_MAX, 1)
