"""The settings of the memory allocator reach the C library, if it has them."""

import ctypes
import sys
from types import SimpleNamespace

from decametre import allocator


def test_freed_memory_is_kept_and_threads_share_one_heap(monkeypatch):
    settings = {}
    library = SimpleNamespace(mallopt=settings.__setitem__)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", "linux")
    allocator.keep_freed_memory()
    assert settings[allocator.M_MMAP_THRESHOLD] >= 1 << 30
    assert 1 << 30 <= settings[allocator.M_TRIM_THRESHOLD] < 1 << 31  # an int of C
    assert settings[allocator.M_ARENA_MAX] == 1


def test_a_library_without_these_settings_is_no_error(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    allocator.keep_freed_memory()
