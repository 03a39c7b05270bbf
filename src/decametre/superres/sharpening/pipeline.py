"""Sharpening window by window: reading, computing and writing at the same time."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from typing import TypeVar

from decametre.options import DEFAULT_TILE
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandReader, StripReader
from decametre.sentinel2.tiling import split
from decametre.superres.pixels.stack import Stack, read_stack
from decametre.superres.sharpening.sharpener import SharpenedWindow, Sharpener

T = TypeVar("T")

READ_AHEAD = 2
"""Windows that are read but not yet computed."""


def sharpen_windows(
    product: Product,
    window: Window,
    sharpeners: Sequence[Sharpener],
    tile: int = DEFAULT_TILE,
    turn: AbstractContextManager[object] | None = None,
) -> Generator[SharpenedWindow, None, None]:
    """Sharpen a window of a product, core by core.

    One thread prefetches, and each sharpener computes in its own thread. The memory needed depends
    on the size of a tile and the number of devices, not on the size of the product.

    Args:
        product: The product.
        window: What to sharpen, in 10 m pixels, a multiple of the sharpeners' `step`.
        sharpeners: One per device, otherwise equal.
        tile: Edge of a core in 10 m pixels.
        turn: Entered after the first window has been read, and exited after all have been computed.
            If products share a device, one can be prefetched while another is computed.

    Yields:
        Every core once, row by row.

    Raises:
        CorruptDataError: A file cannot be decoded.
    """
    first = sharpeners[0]
    cores = split(window, tile, first.step)
    radiometry = {name: file.radiometry for name, file in product.bands.items()}

    def stacks() -> Iterator[tuple[Window, Window, Stack]]:
        with BandReader(product, first.inputs) as bands:
            extent = window.padded(first.halo).intersection(product.grid.window)
            reader = StripReader(bands, extent)
            for core in cores:
                outer = core.padded(first.halo)
                yield core, outer, read_stack(reader, product, first.inputs, outer, first.reach)

    idle: queue.SimpleQueue[Sharpener] = queue.SimpleQueue()
    for sharpener in sharpeners:
        idle.put(sharpener)

    def compute(core: Window, outer: Window, stack: Stack) -> SharpenedWindow:
        sharpener = idle.get()
        try:
            return sharpener(stack, outer, core, radiometry)
        finally:
            idle.put(sharpener)

    pending: deque[Future[SharpenedWindow]] = deque()
    windows = read_ahead(stacks, READ_AHEAD)
    windows = chain(list(islice(windows, 1)), windows)
    with turn or nullcontext(), ThreadPoolExecutor(len(sharpeners)) as pool:
        for core, outer, stack in windows:
            pending.append(pool.submit(compute, core, outer, stack))
            if len(pending) > len(sharpeners):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def read_ahead(make: Callable[[], Iterator[T]], depth: int) -> Iterator[T]:
    """Run a generator in a separate thread, at most `depth` items ahead of the consumer.

    An exception in the thread is raised in the consumer. If the consumer stops early, so does the
    thread.
    """
    items: queue.Queue[tuple[bool, object]] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: tuple[bool, object]) -> bool:
        while not stop.is_set():
            try:
                items.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            for item in make():
                if not put((False, item)):
                    return
            put((True, None))
        except BaseException as error:  # raised in the consumer
            put((True, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            last, item = items.get()
            if last:
                if isinstance(item, BaseException):
                    raise item
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
