"""The self-check: a score for the product itself, by Wald's protocol on a sample of its windows.

The windows are degraded by the ratio of the grids, sharpened with the models of the job, and
compared with the measured bands. The degradation kernel is that of the product, as far as it can be
measured. The error at 10 m remains unknown, but errors at degraded scale show on which products and
bands a model is inaccurate. Nothing depends on the clock, so the same input has the same scores.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from decametre.device import autocast
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD, bands_at
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.degradation.degraded_scene import DegradedPair, degrade_with_taps
from decametre.superres.degradation.kernels import mtf_taps
from decametre.superres.degradation.measured_mtf import CELL, measure_bands
from decametre.superres.models.prediction import predict, predict_bicubic
from decametre.superres.models.registry import Model
from decametre.superres.pixels.scenes import Scene, load_scene, middle_of
from decametre.superres.pixels.stack import by_gsd
from decametre.superres.sharpening.sample_windows import sample_windows
from decametre.superres.sharpening.sharpener import inputs_of

log = logging.getLogger(__name__)

MTF_EDGE = 504
"""Edge of the middle of each window in which the MTF is measured, in 10 m pixels."""

MAX_INTERVAL = 0.3
"""Width of the 95 % interval of a measured gain up to which it is used."""

MIN_PIXELS = 1000
"""Number of pixels of a band that are needed for a score."""


@dataclass(frozen=True)
class BandScore:
    """The score of one band at degraded scale.

    Attributes:
        model: Name of the model.
        pixels: Number of scored pixels.
        rmse: Root mean square error of the model, in reflectance.
        bicubic_rmse: The same for bicubic interpolation.
    """

    model: str
    pixels: int
    rmse: float
    bicubic_rmse: float

    @property
    def is_scored(self) -> bool:
        """Whether there are enough pixels."""
        return self.pixels >= MIN_PIXELS

    @property
    def ratio(self) -> float:
        """RMSE divided by that of bicubic interpolation; NaN if bicubic interpolation is exact."""
        return self.rmse / self.bicubic_rmse if self.bicubic_rmse else math.nan

    @property
    def is_worse(self) -> bool:
        """Whether the model is worse than bicubic interpolation."""
        return self.is_scored and self.rmse > self.bicubic_rmse


@dataclass(frozen=True)
class SelfCheck:
    """Scores of a product at degraded scale.

    Attributes:
        windows: The scored windows, in 10 m pixels of the product.
        gains: Gain of each input band at its Nyquist frequency, which defines the kernel.
        measured: The bands whose gain was measured in the product; the other gains are nominal.
        bands: The score of each sharpened band.
        angles: Mean spectral angle in degrees between the model's bands and the measured ones, by
            model, and the same for bicubic interpolation; NaN if there are no pixels.
    """

    windows: tuple[Window, ...]
    gains: Mapping[str, float]
    measured: frozenset[str]
    bands: Mapping[str, BandScore]
    angles: Mapping[str, tuple[float, float]]

    @property
    def worse_bands(self) -> tuple[str, ...]:
        """The bands that are better with bicubic interpolation."""
        return tuple(name for name, score in self.bands.items() if score.is_worse)


class ErrorSums:
    """Sums of errors over windows, of one model and of bicubic interpolation.

    Args:
        bands: Number of bands.
    """

    def __init__(self, bands: int) -> None:
        self.squares = torch.zeros(2, bands, dtype=torch.float64)
        self.pixels = torch.zeros(bands, dtype=torch.int64)
        self.angles = torch.zeros(2, dtype=torch.float64)
        self.spectra = 0

    def add(self, pair: DegradedPair, images: Sequence[Tensor]) -> None:
        """Add a window.

        Args:
            pair: The window with its reference.
            images: Results of the model and of bicubic interpolation, of the shape of the target.
        """
        complete = pair.mask.all(dim=1)
        self.pixels += pair.mask.sum(dim=(0, 2, 3))
        self.spectra += int(complete.sum())
        truth = pair.target.double()
        for index, image in enumerate(images):
            found = image.double()
            self.squares[index] += ((found - truth).square() * pair.mask).sum(dim=(0, 2, 3))
            angles = spectral_angles(found, truth)[complete]
            self.angles[index] += angles.sum()

    @property
    def rmse(self) -> Tensor:
        """(2, bands): of the model and of bicubic interpolation; NaN without pixels."""
        return (self.squares / self.pixels).sqrt()

    @property
    def mean_angles(self) -> tuple[float, float]:
        """In degrees, of the model and of bicubic interpolation; NaN without pixels."""
        model, bicubic = (self.angles / self.spectra).rad2deg().tolist()
        return model, bicubic


def spectral_angles(image: Tensor, truth: Tensor) -> Tensor:
    """Angle in radians between the spectra of each pixel; 0 where one of them is 0.

    Args:
        image: (batch, bands, rows, columns), float64.
        truth: The same shape.

    Returns:
        (batch, rows, columns).
    """
    norms = image.norm(dim=1) * truth.norm(dim=1)
    cosine = (image * truth).sum(dim=1) / torch.where(norms > 0, norms, 1)
    return torch.where(norms > 0, cosine.clamp(-1, 1).acos(), 0)


@torch.inference_mode()
def check_product(
    product: Product,
    window: Window,
    models: Sequence[Model],
    device: torch.device,
    precision: torch.dtype,
) -> SelfCheck:
    """Score models on a sample of the windows of a product.

    Args:
        product: The product.
        window: The part of it that is sharpened, in 10 m pixels.
        models: The models, on their device; the first one that sharpens a band is used for it.
        device: Their device.
        precision: Their precision.

    Raises:
        CorruptDataError: A file cannot be decoded.
    """
    inputs = inputs_of(models, ())
    coarsest = max(inputs, key=lambda name: ALL_BANDS[name].gsd)
    windows = sample_windows(product, window, coarsest)
    scenes = [load_scene(product, inputs, part) for part in windows]
    gains, measured = product_gains(scenes, inputs)
    bands: dict[str, BandScore] = {}
    angles = {}
    for model in models:
        card, sums = model.card, ErrorSums(len(model.card.bands_out))
        taps = {
            gsd: mtf_taps([gains[name] for name in names], card.scale)
            for gsd, names in card.bands_in.items()
        }
        for scene in scenes:
            pair = degrade_with_taps(select_bands(scene, inputs, card.bands_in), taps).full_pair()
            with autocast(device, precision):
                image = predict(
                    model.network, pair.inputs, card.margin, card.alignment, measured=pair.measured
                )
            sums.add(pair, (image, predict_bicubic(pair.inputs)))
        rmse, bicubic_rmse = sums.rmse.tolist()
        pixels = sums.pixels.tolist()
        for name, *score in zip(card.bands_out, pixels, rmse, bicubic_rmse, strict=True):
            bands.setdefault(name, BandScore(card.name, *score))
        angles[card.name] = sums.mean_angles
    return SelfCheck(tuple(windows), gains, measured, bands, angles)


def product_gains(
    scenes: Sequence[Scene], names: Sequence[str]
) -> tuple[dict[str, float], frozenset[str]]:
    """Gain of each band at its Nyquist frequency.

    It is the middle of the measured interval if that is narrow enough, otherwise the nominal gain.
    The gains of 10 m bands are always nominal.

    Args:
        scenes: Windows of the product.
        names: Their bands.

    Returns:
        The gains, and the bands with a measured one.
    """
    gains, groups = {name: ALL_BANDS[name].mtf for name in names}, by_gsd(names)
    measured = set()
    if scenes and groups.get(FINEST_GSD) == bands_at(FINEST_GSD):
        parts = [middle_of(scene, MTF_EDGE) for scene in scenes]
        for gsd in CELL.keys() & groups.keys():
            for found in measure_bands(parts, groups[gsd]):
                if found.low is None or found.high is None:
                    continue
                if found.high - found.low <= MAX_INTERVAL:
                    gains[found.band] = (found.low + found.high) / 2
                    measured.add(found.band)
    return gains, frozenset(measured)


def select_bands(
    scene: Scene, names: Sequence[str], bands_in: Mapping[int, tuple[str, ...]]
) -> Scene:
    """A scene with the bands of a model, in its order.

    Args:
        scene: The scene.
        names: Bands of the scene.
        bands_in: Bands of the model for each GSD.
    """
    groups = by_gsd(names)

    def selected(images: Mapping[int, Tensor]) -> dict[int, Tensor]:
        return {
            gsd: images[gsd][[groups[gsd].index(name) for name in group]]
            for gsd, group in bands_in.items()
        }

    return Scene(scene.name, selected(scene.reflectance), selected(scene.valid))


def worse_bands(check: SelfCheck, bands: Sequence[str], product: str) -> frozenset[str]:
    """The bands that are interpolated bicubically in place of networks; a warning names them.

    Args:
        check: The self-check of the product.
        bands: Bands of the output.
        product: Id of the product.
    """
    worse = [name for name in bands if name in check.worse_bands]
    if worse:
        ratios = ", ".join(f"{name} {check.bands[name].ratio:.2f}" for name in worse)
        log.warning(
            "%s: bicubic interpolation replaces networks that are worse on this product, with an "
            "RMSE relative to bicubic of: %s",
            product,
            ratios,
        )
    return frozenset(worse)


def check_section(check: SelfCheck) -> dict[str, Any]:
    """The section `self_check` of the quality card."""
    return {
        "kernel": "mtf",
        "nyquist_gains": {name: round(gain, 3) for name, gain in check.gains.items()},
        "measured_gains": [name for name in check.gains if name in check.measured],
        "windows": [[part.col, part.row, part.width, part.height] for part in check.windows],
        "models": {
            name: {"sam_degrees": _rounded(model), "bicubic_sam_degrees": _rounded(bicubic)}
            for name, (model, bicubic) in check.angles.items()
        },
        "bicubic_bands": list(check.worse_bands),
    }


def band_section(score: BandScore, scale: float) -> dict[str, Any]:
    """The entry `self_check` of a band in the quality card.

    Args:
        score: The score of the band.
        scale: Reflectance per DN.
    """
    if not score.is_scored:
        return {
            "not_scored": f"{score.pixels} pixels can be scored, at least {MIN_PIXELS} are needed",
            "pixels": score.pixels,
        }
    return {
        "rmse_dn": round(score.rmse / scale, 3),
        "bicubic_rmse_dn": round(score.bicubic_rmse / scale, 3),
        "ratio_to_bicubic": _rounded(score.ratio),
        "pixels": score.pixels,
    }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
