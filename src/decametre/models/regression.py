"""Local regression: what the finer bands say of the coarse ones, learned from the image itself.

How much blue light goes with how much coastal light depends on the ground, the haze and the sun, so
a network that saw little ground guesses badly on new ground. But the image holds examples: every
coarse pixel shows the coarse bands beside the finer ones, made as coarse. Around each coarse pixel,
a ridge regression of the coarse bands on the finer ones is solved in closed form, and its
coefficients put the finer bands' details into the coarse bands. Nothing here is trained.

The idea is the injection model of pansharpening (context-based decision: Aiazzi et al. 2002,
https://doi.org/10.1109/TGRS.2002.803623; as guided filter: He et al. 2013,
https://doi.org/10.1109/TPAMI.2012.213), with all finer bands at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from decametre.bands import FINEST_GSD
from decametre.models.bicubic import bicubic

FLOOR = 1e-8
"""Added to the ridge, in reflectance squared: flat ground has no details to put in."""


def local_regressions(
    reflectance: Mapping[int, Tensor], measured: Tensor, settings: Sequence[tuple[int, float]]
) -> tuple[Tensor, Tensor]:
    """Details of the coarsest bands, by regression on the finer bands in windows.

    Args:
        reflectance: For each GSD, (batch, bands, rows, columns) on that grid.
        measured: (batch, 1, rows, columns) on the coarsest grid: the weight of each pixel as an
            example, 0 where something in it was not measured.
        settings: Radius of the window in coarse pixels, and ridge in units of the mean variance of
            the finer bands in it, for each regression.

    Returns:
        What each regression adds to bicubic interpolation, (batch, regressions, bands, factor^2,
        rows, columns): the 10 m pixels of each coarse pixel lie along the fourth axis, in the order
        of `pixel_shuffle`. And by how much it misses the coarse bands themselves, (batch,
        regressions, bands, rows, columns). Both float32, in reflectance, on the coarsest grid.
    """
    coarsest = max(reflectance)
    factor = coarsest // FINEST_GSD
    coarse = reflectance[coarsest].float()
    guide = torch.cat(
        [
            bicubic(image.float(), gsd // FINEST_GSD) if gsd > FINEST_GSD else image.float()
            for gsd, image in sorted(reflectance.items())
            if gsd < coarsest
        ],
        dim=1,
    )
    guide_coarse = F.avg_pool2d(guide, factor)
    details = F.pixel_unshuffle(guide - bicubic(guide_coarse, factor), factor)
    batch, _, rows, cols = details.shape
    details = details.reshape(batch, guide.shape[1], factor**2, rows, cols)
    images, misses = [], []
    for radius in dict.fromkeys(radius for radius, _ in settings):
        moments = _Moments(guide_coarse, coarse, measured, radius)
        for ridge in (ridge for own, ridge in settings if own == radius):
            slopes = moments.slopes(ridge)
            misses.append(moments.miss(slopes))
            images.append(_applied(slopes.float(), details))
    return torch.stack(images, dim=1), torch.stack(misses, dim=1)


class _Moments:
    """Weighted means and covariances in the window around each coarse pixel.

    In float64: a variance is a small difference of large numbers.
    """

    def __init__(self, guide: Tensor, coarse: Tensor, measured: Tensor, radius: int) -> None:
        self.guide, self.coarse = guide.double(), coarse.double()
        count = guide.shape[1]
        weight = measured.double()
        total = _box_sum(weight, radius).clamp(min=1e-6)

        def mean(x_bchw: Tensor) -> Tensor:
            return _box_sum(x_bchw * weight, radius) / total

        both = torch.cat([self.guide, self.coarse], dim=1)
        means = mean(both)
        self.guide_mean, self.coarse_mean = means[:, :count], means[:, count:]
        first, second = torch.triu_indices(count, count, device=guide.device)
        squares = mean(self.guide[:, first] * self.guide[:, second])
        squares = squares - self.guide_mean[:, first] * self.guide_mean[:, second]
        upper = torch.zeros(count, count, dtype=torch.long, device=guide.device)
        upper[first, second] = upper[second, first] = torch.arange(len(first), device=guide.device)
        # (batch, rows, columns, guide bands, guide bands)
        squares = squares[:, upper.flatten()].permute(0, 2, 3, 1)
        self.covariance = squares.reshape(*squares.shape[:3], count, count)
        products = mean((self.guide[:, :, None] * self.coarse[:, None]).flatten(1, 2))
        products = products - (self.guide_mean[:, :, None] * self.coarse_mean[:, None]).flatten(
            1, 2
        )
        products = products.permute(0, 2, 3, 1)
        self.products = products.reshape(*products.shape[:3], count, coarse.shape[1])

    def slopes(self, ridge: float) -> Tensor:
        """(batch, guide bands, coarse bands, rows, columns), float64."""
        variance = self.covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
        weight = (ridge * variance + FLOOR)[..., None, None]
        identity = torch.eye(self.covariance.shape[-1], dtype=weight.dtype, device=weight.device)
        found, _ = torch.linalg.solve_ex(self.covariance + weight * identity, self.products)
        return found.permute(0, 3, 4, 1, 2)

    def miss(self, slopes: Tensor) -> Tensor:
        """What the coarse bands have and the regression does not explain, float32."""
        deviation = (self.guide - self.guide_mean)[:, :, None]
        return (self.coarse - self.coarse_mean - (slopes * deviation).sum(dim=1)).float()


def _box_sum(x_bchw: Tensor, radius: int) -> Tensor:
    """Sums over squares of 2 radius + 1 pixels; outside is 0."""
    edge = 2 * radius + 1
    rows = F.avg_pool2d(x_bchw, (edge, 1), stride=1, padding=(radius, 0), divisor_override=1)
    return F.avg_pool2d(rows, (1, edge), stride=1, padding=(0, radius), divisor_override=1)


def _applied(slopes: Tensor, details: Tensor) -> Tensor:
    """The finer bands' details times the slopes of the coarse pixel that they lie in."""
    first, *others = (
        slopes[:, index, :, None] * details[:, index, None] for index in range(details.shape[1])
    )
    for term in others:
        first.add_(term)
    return first
