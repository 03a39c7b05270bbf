"""Sharpening as a graph of dask: pixels are read and computed when they are needed.

Each core of the product is one task, which needs the chunks around it. The self-check is a task
that all cores wait for, since it decides which bands are interpolated bicubically.
"""

from __future__ import annotations

import functools
import queue
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import dask.array
import numpy as np
import torch
from dask.delayed import delayed
from torch import nn

from decametre.device import choose_devices, choose_precision
from decametre.errors import ModelError
from decametre.sentinel2.array_product import ArrayImage
from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.tiling import split
from decametre.superres.models.adaptive import AdaptiveTrunk
from decametre.superres.models.registry import Model, models_for
from decametre.superres.pixels.stack import read_stack
from decametre.superres.sharpening.adaptation import adapt_models
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.output_images import dtype_of, images_of
from decametre.superres.sharpening.self_check import check_product, worse_bands
from decametre.superres.sharpening.sharpener import Sharpener
from decametre.xarray.reading import LazyPixels


@dataclass(frozen=True)
class _Settings:
    """What a worker needs to build the same sharpeners."""

    bands: tuple[str, ...]
    models: tuple[str, ...]
    checksums: tuple[str, ...]
    device: str
    precision: str
    consistent: bool
    gains: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """Measured gains of the models that adapt to the blur of the product."""


class _Loaded:
    """A reader of pixels that dask has loaded already; see `WindowReader`."""

    def __init__(self, pixels: Mapping[str, np.ndarray]) -> None:
        self._pixels = pixels

    def read_all(self, names: Iterable[str], window: Window) -> dict[str, np.ndarray]:
        """All pixels; they are those of the window."""
        return {name: self._pixels[name] for name in names}


def lazy_bands(
    product: Product, models: Sequence[Model], window: Window, options: SharpenOptions
) -> dict[str, dask.array.Array]:
    """Sharpened bands at 10 m, of which no pixel is computed yet.

    Args:
        product: Its bands are in dask arrays.
        models: From `registry.models_for`, for the bands of the options.
        window: In 10 m pixels, a multiple of every band's pixels.
        options: How.

    Raises:
        DecametreError: See `decametre.sharpen`.
    """
    cards = [model.card for model in models]
    settings = _Settings(
        options.bands,
        options.model,
        tuple(card.checksum for card in cards),
        options.device,
        options.precision,
        options.consistent,
    )
    with _sharpener(settings) as sharpener:
        inputs, step, halo = sharpener.inputs, sharpener.step, sharpener.halo
    product.band_files(inputs)
    bare = replace(
        product,
        bands={name: replace(file, image=None) for name, file in product.bands.items()},
    )
    # A partial object hides the product's arrays from dask, which would load them completely.
    prepare = functools.partial(_prepare, product, window, settings, options.self_check)
    prepared = delayed(prepare, name="decametre-check", traverse=False, pure=False)()
    compute = delayed(_compute, pure=False, nout=1)
    dtype = dtype_of({name: product.bands[name].radiometry for name in options.bands}, options)
    rows: dict[int, dict[str, list[dask.array.Array]]] = {}
    for core in split(window, options.tile, step):
        inside = core.padded(halo).intersection(product.grid.window)
        pixels = {name: _part(product, name, inside) for name in inputs}
        piece = compute(bare, core, dtype, prepared, pixels)
        row = rows.setdefault(core.row, {name: [] for name in options.bands})
        for name in options.bands:
            row[name].append(
                dask.array.from_delayed(piece[name], (core.height, core.width), dtype=dtype)
            )
    return {name: dask.array.block([row[name] for row in rows.values()]) for name in options.bands}


def _part(product: Product, name: str, window: Window) -> dask.array.Array:
    """A window of a band as a dask array."""
    file = product.bands[name]
    assert isinstance(file.image, ArrayImage)
    assert isinstance(file.image.pixels, LazyPixels)
    at = window.coarsened(file.band.gsd // FINEST_GSD).slices
    return dask.array.asarray(file.image.pixels.variable[at].data)


def _compute(
    product: Product,
    core: Window,
    dtype: str,
    prepared: tuple[_Settings, frozenset[str]],
    pixels: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """All bands of one core at 10 m.

    Args:
        product: The product without its pixels.
        core: In 10 m pixels.
        dtype: Data type of the result.
        prepared: From `_prepare`.
        pixels: Each band's native pixels of the core and its margin inside the product.
    """
    settings, worse = prepared
    radiometry = {name: file.radiometry for name, file in product.bands.items()}
    checked = {name: ArrayImage(name, image).checked(image) for name, image in pixels.items()}
    with _sharpener(settings) as sharpener:
        sharpener.bicubic_bands = worse
        outer = core.padded(sharpener.halo)
        stack = read_stack(_Loaded(checked), product, sharpener.inputs, outer, sharpener.reach)
        piece = sharpener(stack, outer, core, radiometry)
    wanted = {name: radiometry[name] for name in settings.bands}
    return dict(images_of(piece, wanted, dtype))


def _prepare(
    product: Product, window: Window, settings: _Settings, self_check: bool
) -> tuple[_Settings, frozenset[str]]:
    """Settings with the gains of models that adapt, and the bands that are interpolated."""
    models = models_for(settings.bands, settings.models)
    _, found = adapt_models(models, product)
    gains = tuple((name, tuple(values.values())) for name, values in found.items())
    settings = replace(settings, gains=gains)
    if not self_check or not models:
        return settings, frozenset()
    with _sharpener(settings) as sharpener:
        check = check_product(
            product, window, sharpener.models, sharpener.device, sharpener.precision
        )
    return settings, worse_bands(check, settings.bands, product.id)


@contextmanager
def _sharpener(settings: _Settings) -> Iterator[Sharpener]:
    """A sharpener of this process that no other thread is using."""
    idle = _sharpeners(settings)
    sharpener = idle.get()
    try:
        yield sharpener
    finally:
        idle.put(sharpener)


@functools.lru_cache(maxsize=4)
def _sharpeners(settings: _Settings) -> queue.SimpleQueue[Sharpener]:
    """The sharpeners of this process, one for each device.

    Raises:
        ModelError: A model of this process differs from that of the process that made the graph.
    """
    models, gains = models_for(settings.bands, settings.models), dict(settings.gains)
    if tuple(model.card.checksum for model in models) != settings.checksums:
        raise ModelError("the models changed after the dataset was set up; call sharpen again")
    models = [Model(card, _adapted(network, gains.get(card.name))) for card, network in models]
    devices = choose_devices(settings.device)
    precision = choose_precision(settings.precision, devices[0])
    idle: queue.SimpleQueue[Sharpener] = queue.SimpleQueue()
    for device in devices:
        idle.put(Sharpener(models, settings.bands, device, precision, settings.consistent))
    return idle


def _adapted(network: nn.Module, gains: tuple[float, ...] | None) -> nn.Module:
    """A network for a product; with typical gains before they are measured."""
    if not isinstance(network, AdaptiveTrunk):
        return network
    return network.adapted(torch.tensor(network.typical_gains if gains is None else gains))
