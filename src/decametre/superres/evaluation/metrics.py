"""Scores of an image against the truth, over the pixels of a mask.

Formulas, data ranges and sources stand in docs/metrics.md. torchmetrics computes what it has;
SRE it lacks, its ERGAS cannot give every band a mask of its own, and for UIQ see `uiq_map`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchmetrics.functional import mean_squared_error
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    spectral_angle_mapper,
    structural_similarity_index_measure,
)

DN = 1e4
"""DN in a reflectance of 1."""

PEAK = 1.0
"""Data range of PSNR and SSIM: a reflectance of 1, whatever the image holds. Derived from the
image, it would differ from scene to scene and, in SSIM, from model to model."""

RADIUS, SIGMA = 5, 1.5
"""Of the windows of SSIM and UIQ, in pixels: 11 x 11 under a Gaussian (Wang et al. 2004)."""

STRIP = 512
"""Rows that are scored at once. Windows reach across, so it changes memory only."""

ALL = "all"
"""Stands for a band's name where a score belongs to all bands together."""

Scores = Mapping[str, Mapping[str, float]]
"""Metric to band to value; NaN where nothing could be scored, infinite for a perfect image."""


@dataclass(frozen=True)
class Metric:
    """How a score is shown.

    Attributes:
        name: As in the tables.
        unit: Empty for pure numbers.
        decimals: Digits after the point.
        per_band: False where one value belongs to all bands together.
        best: The value of a perfect image.
    """

    name: str
    unit: str
    decimals: int
    per_band: bool
    best: float


METRICS = (
    Metric("RMSE", "DN", 1, True, 0.0),
    Metric("SRE", "dB", 2, True, math.inf),
    Metric("SAM", "degrees", 2, False, 0.0),
    Metric("ERGAS", "", 2, False, 0.0),
    Metric("SSIM", "", 4, True, 1.0),
    Metric("PSNR", "dB", 2, True, math.inf),
    Metric("UIQ", "", 4, True, 1.0),
)
"""In the order of the published tables, and UIQ."""


def score_image(
    image: Tensor, target: Tensor, mask: Tensor, bands: Sequence[str], scale: int
) -> Scores:
    """Every metric of `METRICS`.

    Args:
        image: (bands, rows, columns) of reflectance.
        target: The truth, the same shape.
        mask: bool, the same shape: the pixels that count.
        bands: Names, one a plane.
        scale: Ratio of the grids, for ERGAS.
    """
    scores: dict[str, dict[str, float]] = {metric.name: {} for metric in METRICS}
    relative = []
    for name, plane, truth, valid in zip(bands, image, target, mask, strict=True):
        error, mean, peak = _pixelwise(plane, truth, valid)
        scores["RMSE"][name] = error * DN
        scores["SRE"][name] = sre(error, mean)
        scores["PSNR"][name] = peak
        scores["SSIM"][name], scores["UIQ"][name] = windowed(plane, truth, valid)
        if valid.any() and mean != 0:
            relative.append(error / mean)
    scores["SAM"][ALL] = sam(image, target, mask)
    scores["ERGAS"][ALL] = ergas(relative, scale)
    return scores


def sre(rmse: float, mean: float) -> float:
    """Signal-to-reconstruction error in dB, 10 log10(mean^2 / MSE) (Lanaras et al. 2018).

    Args:
        rmse: Of a band.
        mean: Of the truth, in the same unit.

    Returns:
        Infinite for a perfect image; NaN for a truth without signal.
    """
    if math.isnan(rmse) or mean == 0:
        return math.nan
    return math.inf if rmse == 0 else 20 * math.log10(abs(mean) / rmse)


def ergas(relative: Sequence[float], scale: int) -> float:
    """Relative dimensionless global error of synthesis (Wald 2002).

    100 (h / l) sqrt(mean of (RMSE / mean)^2 over bands), h / l being the pixel size of the truth
    over that of the input: 1/2 or 1/6. Our own code, since torchmetrics takes one set of pixels
    for all bands; its `ratio` divides, so it is l / h that gives the same there.

    Args:
        relative: RMSE of each band divided by the mean of its truth.
        scale: l / h.
    """
    if not relative:
        return math.nan
    return 100 / scale * math.sqrt(sum(value**2 for value in relative) / len(relative))


def sam(image: Tensor, target: Tensor, mask: Tensor) -> float:
    """Spectral angle in degrees, mean over the pixels that are in the mask in every band.

    Args:
        image: (bands, rows, columns) of reflectance.
        target: The truth.
        mask: bool, the same shape.

    Returns:
        NaN for a single band, which has no angle, and where no pixel counts. Pixels that are 0 in
        all bands have none either and do not count.
    """
    if len(image) < 2:
        return math.nan
    angles = []
    for rows in _strips(image.shape[1], 0):
        valid = mask[:, rows].all(dim=0)
        # Single precision ends at 0.03 degrees: the cosine of a small angle is all but 1.
        spectra, truth = (x[:, rows][:, valid].double()[None, :, :, None] for x in (image, target))
        angles.append(spectral_angle_mapper(spectra, truth, reduction="none").flatten())
    return math.degrees(_mean(torch.cat(angles)))


def windowed(image: Tensor, target: Tensor, mask: Tensor) -> tuple[float, float]:
    """SSIM and UIQ of one band, mean over the windows that lie in the mask with every pixel.

    Args:
        image: (rows, columns) of reflectance.
        target: The truth.
        mask: bool, the same shape.

    Returns:
        SSIM (Wang et al. 2004) with a data range of `PEAK`, and UIQ (Wang and Bovik 2002), which
        is SSIM without its constants; both at most 1, NaN where no window counts.
    """
    edge = 2 * RADIUS + 1
    if min(image.shape) < edge:
        return math.nan, math.nan
    ssim, uiq = [], []
    for rows in _strips(image.shape[0], RADIUS):
        plane, truth = image[rows], target[rows]
        complete = F.max_pool2d((~mask[rows]).float()[None], edge, stride=1)[0] == 0
        _, around = structural_similarity_index_measure(
            plane[None, None], truth[None, None], data_range=PEAK, return_full_image=True
        )
        ssim.append(around[0, 0, RADIUS:-RADIUS, RADIUS:-RADIUS][complete])
        uiq.append(uiq_map(plane, truth)[complete])
    return _mean(torch.cat(ssim)), _mean(torch.cat(uiq))


def uiq_map(image: Tensor, target: Tensor) -> Tensor:
    """Universal image quality index (Wang and Bovik 2002) of every complete window.

    Our own code, since that of torchmetrics adds 1e-7 to a denominator that is as small for
    reflectances in single precision, and takes minutes for a full tile in double precision.

    Args:
        image: (rows, columns) of reflectance.
        target: The truth.

    Returns:
        (rows - 10, columns - 10), float64, from -1 to 1; NaN where neither image has contrast, for
        which the index is 0 / 0.
    """
    x, y = image.double().numpy(), target.double().numpy()
    mean_x, mean_y, xx, yy, xy = (
        gaussian_filter(plane, SIGMA, radius=RADIUS)[RADIUS:-RADIUS, RADIUS:-RADIUS]
        for plane in (x, y, x * x, y * y, x * y)
    )
    means = mean_x**2 + mean_y**2
    variances = xx + yy - means
    covariance = xy - mean_x * mean_y
    # Rounding leaves some 1e-16 of the squares where there is no contrast.
    contrast = variances > 1e-12 * means
    with np.errstate(divide="ignore", invalid="ignore"):
        index = 4 * mean_x * mean_y * covariance / (means * variances)
    return torch.from_numpy(np.where(contrast, index, np.nan))


def _pixelwise(image: Tensor, target: Tensor, mask: Tensor) -> tuple[float, float, float]:
    """RMSE in reflectance, mean of the truth, and PSNR of one band."""
    pixels, truth = image[mask].double(), target[mask].double()
    if not pixels.numel():
        return math.nan, math.nan, math.nan
    return (
        float(mean_squared_error(pixels, truth, squared=False)),
        float(truth.mean()),
        float(peak_signal_noise_ratio(pixels, truth, data_range=PEAK)),
    )


def _mean(values: Tensor) -> float:
    """The mean of what is defined; NaN where nothing is."""
    known = values[values.isfinite()].double()
    return float(known.mean()) if known.numel() else math.nan


def _strips(rows: int, halo: int) -> Iterator[slice]:
    """Slices of rows whose parts without the halo follow one another."""
    for start in range(halo, rows - halo, STRIP):
        yield slice(start - halo, min(start + STRIP, rows - halo) + halo)
