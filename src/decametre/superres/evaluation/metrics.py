"""Scores of an image compared with the truth, over the pixels of a mask.

Formulas, data ranges and sources are in docs/metrics.md. torchmetrics computes RMSE, SAM, SSIM and
PSNR. It has no SRE, its ERGAS does not support one mask per band, and for UIQ see `uiq_map`.
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

from decametre.superres.evaluation.pansharpening_indices import RunningMean, q2n

DN = 1e4
"""DN of a reflectance of 1."""

PEAK = 1.0
"""Data range of PSNR and SSIM: always a reflectance of 1. A range derived from the image would vary
between scenes and, for SSIM, between models."""

RADIUS, SIGMA = 5, 1.5
"""Windows of SSIM and UIQ, in pixels: 11 x 11 with Gaussian weights (Wang et al. 2004)."""

STRIP = 512
"""Rows that are scored at once. Strips overlap by a window, so it only affects memory."""

ALL = "all"
"""Used in place of a band's name for scores of all bands together."""

Scores = Mapping[str, Mapping[str, float]]
"""Value by metric and band; NaN if no pixel was scored, infinite for a perfect image."""


@dataclass(frozen=True)
class Metric:
    """How a score is shown.

    Attributes:
        name: Name in the tables.
        unit: Unit; empty for pure numbers.
        decimals: Digits after the point.
        per_band: False if there is one value for all bands together.
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
    Metric("Q2n", "", 4, False, 1.0),
)
"""In the order of published tables, followed by UIQ and Q2n."""


def score_image(
    image: Tensor, target: Tensor, mask: Tensor, bands: Sequence[str], scale: int
) -> Scores:
    """Every metric of `METRICS`.

    Args:
        image: (bands, rows, columns) of reflectance.
        target: The truth, the same shape.
        mask: bool, the same shape: the pixels to score.
        bands: Names of the bands.
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
    quality = RunningMean()
    quality.add(q2n(image, target, mask))
    scores["Q2n"][ALL] = quality.mean
    return scores


def sre(rmse: float, mean: float) -> float:
    """Signal-to-reconstruction error in dB, 10 log10(mean^2 / MSE) (Lanaras et al. 2018).

    Args:
        rmse: RMSE of a band.
        mean: Mean of the truth, in the same unit.

    Returns:
        The ratio in dB; infinite for a perfect image, NaN if the mean is 0.
    """
    if math.isnan(rmse) or mean == 0:
        return math.nan
    return math.inf if rmse == 0 else 20 * math.log10(abs(mean) / rmse)


def ergas(relative: Sequence[float], scale: int) -> float:
    """Relative dimensionless global error of synthesis (Wald 2002).

    100 (h / l) sqrt(mean of (RMSE / mean)^2 over bands), where h / l is the pixel size of the truth
    divided by that of the input: 1/2 or 1/6. torchmetrics only supports the same pixels for all
    bands; its argument `ratio` corresponds to l / h.

    Args:
        relative: RMSE of each band divided by the mean of its truth.
        scale: l / h.
    """
    if not relative:
        return math.nan
    return 100 / scale * math.sqrt(sum(value**2 for value in relative) / len(relative))


def sam(image: Tensor, target: Tensor, mask: Tensor) -> float:
    """Mean spectral angle in degrees, over the pixels that are in the mask in every band.

    Args:
        image: (bands, rows, columns) of reflectance.
        target: The truth.
        mask: bool, the same shape.

    Returns:
        The angle; NaN for a single band, or if there are no pixels. Pixels that are 0 in all bands
        have no angle and are ignored.
    """
    if len(image) < 2:
        return math.nan
    angles = []
    for rows in _strips(image.shape[1], 0):
        valid = mask[:, rows].all(dim=0)
        # In single precision, angles below 0.03 degrees have a cosine of 1.
        spectra, truth = (x[:, rows][:, valid].double()[None, :, :, None] for x in (image, target))
        angles.append(spectral_angle_mapper(spectra, truth, reduction="none").flatten())
    return math.degrees(_mean(torch.cat(angles)))


def windowed(image: Tensor, target: Tensor, mask: Tensor) -> tuple[float, float]:
    """SSIM and UIQ of one band, mean over the windows with all pixels in the mask.

    Args:
        image: (rows, columns) of reflectance.
        target: The truth.
        mask: bool, the same shape.

    Returns:
        SSIM (Wang et al. 2004) with a data range of `PEAK`, and UIQ (Wang and Bovik 2002), which
        is SSIM without its constants. Both are at most 1, and NaN if there is no such window.
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

    torchmetrics adds 1e-7 to the denominator, which is of this size for reflectances, and takes
    minutes for a full tile in double precision.

    Args:
        image: (rows, columns) of reflectance.
        target: The truth.

    Returns:
        (rows - 10, columns - 10), float64, from -1 to 1; NaN where neither image has contrast.
    """
    x, y = image.double().numpy(), target.double().numpy()
    mean_x, mean_y, xx, yy, xy = (
        gaussian_filter(plane, SIGMA, radius=RADIUS)[RADIUS:-RADIUS, RADIUS:-RADIUS]
        for plane in (x, y, x * x, y * y, x * y)
    )
    means = mean_x**2 + mean_y**2
    variances = xx + yy - means
    covariance = xy - mean_x * mean_y
    # Without contrast, rounding errors are about 1e-16 of the squares.
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
    """The mean of the finite values; NaN if there is none."""
    known = values[values.isfinite()].double()
    return float(known.mean()) if known.numel() else math.nan


def _strips(rows: int, halo: int) -> Iterator[slice]:
    """Slices of rows that overlap by twice the halo."""
    for start in range(halo, rows - halo, STRIP):
        yield slice(start - halo, min(start + STRIP, rows - halo) + halo)
