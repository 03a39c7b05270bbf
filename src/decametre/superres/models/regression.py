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
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.models.bicubic import bicubic

FLOOR = 1e-8
"""Added to the ridge, in reflectance squared: flat ground has no details to put in."""


def local_regressions(
    reflectance: Mapping[int, Tensor],
    measured: Tensor,
    settings: Sequence[tuple[int, float]],
    block: int = 1,
) -> tuple[Tensor, Tensor]:
    """Details of the coarsest bands, by regression on the finer bands in windows.

    Args:
        reflectance: For each GSD, (batch, bands, rows, columns) on that grid.
        measured: (batch, 1, rows, columns) on the coarsest grid: the weight of each pixel as an
            example, 0 where something in it was not measured.
        settings: Radius of the window in blocks, and ridge in units of the mean variance of the
            finer bands in it, for each regression.
        block: Edge in coarse pixels of the squares that share a regression; rows and columns are
            multiples of it.

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
    examples = _Blocks(guide_coarse, coarse, measured.float(), block)
    found, misses = [], []
    for radius, ridge in settings:
        moments = examples.window(radius)
        found.append(moments.slopes(ridge))
        misses.append(examples.miss(moments, found[-1]))
    # Pixel by pixel the slopes of all regressions times the details, which are cut out into a
    # matrix of finer bands x 10 m pixels for each: the layout in which convolutions go on.
    batch, bands, rows, cols = coarse.shape
    slopes = _spread(torch.stack(found, dim=1), block).permute(0, 4, 5, 1, 3, 2)
    details = bicubic(guide_coarse, factor).neg_().add_(guide)
    del guide  # images of this size are what a window's memory goes into
    cut = details.reshape(batch, -1, rows, factor, cols, factor).permute(0, 2, 4, 1, 3, 5)
    cut = cut.reshape(batch * rows * cols, -1, factor**2)
    del details
    images = torch.bmm(slopes.reshape(batch * rows * cols, len(settings) * bands, -1), cut)
    images = images.reshape(batch, rows, cols, len(settings), bands, factor**2)
    return images.permute(0, 3, 4, 5, 1, 2), torch.stack(misses, dim=1)


@dataclass(frozen=True)
class _Moments:
    """Weighted means and covariances in a window, on the grid of blocks, float64.

    Attributes:
        mean: (batch, guide and coarse bands, rows, columns).
        own: (batch, rows, columns, guide bands, guide bands): covariances of the guide bands.
        shared: (batch, rows, columns, guide bands, coarse bands): guide with coarse bands.
    """

    mean: Tensor
    own: Tensor
    shared: Tensor

    def slopes(self, ridge: float) -> Tensor:
        """(batch, guide bands, coarse bands, rows, columns), float32."""
        ridged = self.own.clone()
        diagonal = ridged.diagonal(dim1=-2, dim2=-1)
        diagonal += (ridge * diagonal.mean(dim=-1) + FLOOR)[..., None]
        found, _ = torch.linalg.solve_ex(ridged, self.shared)
        return found.permute(0, 3, 4, 1, 2).float()


class _Blocks:
    """Examples, summed up block by block.

    A variance is a small difference of large numbers. Inside a block, deviations from the block's
    mean are small numbers from the start; between blocks, of which there are few, sums are float64.
    """

    def __init__(self, guide: Tensor, coarse: Tensor, measured: Tensor, block: int) -> None:
        self.guides, self.block = guide.shape[1], block
        self.bands = torch.cat([guide, coarse], dim=1)
        pooled = F.avg_pool2d(measured, block)
        mean = F.avg_pool2d(self.bands * measured, block) / pooled.clamp(min=1e-6)
        deviation = self.bands - _spread(mean, block)
        # Guide bands with one another, once each, then each of them with every coarse band.
        first, second = torch.triu_indices(self.guides, self.guides, device=guide.device)
        every = torch.arange(self.bands.shape[1], device=guide.device)
        pairs = torch.cartesian_prod(every[: self.guides], every[self.guides :])
        self.place = torch.zeros(self.guides, self.guides, dtype=torch.long, device=guide.device)
        self.place[first, second] = self.place[second, first] = every.new_tensor(range(len(first)))
        self.first, self.second = torch.cat([torch.stack([first, second]), pairs.T], dim=1)
        within = deviation[:, self.first] * deviation[:, self.second]
        self.weight, self.mean = pooled.double(), mean.double()
        between = self.mean[:, self.first] * self.mean[:, self.second] * self.weight
        self.products = F.avg_pool2d(within * measured, block).double() + between
        self._windows: dict[int, _Moments] = {}

    def window(self, radius: int) -> _Moments:
        """Moments of the window of 2 radius + 1 blocks around each block."""
        if radius not in self._windows:
            total = _box_sum(self.weight, radius).clamp(min=1e-6)
            mean = _box_sum(self.mean * self.weight, radius) / total
            flat = _box_sum(self.products, radius) / total
            flat = flat - mean[:, self.first] * mean[:, self.second]
            batch, _, rows, cols = flat.shape
            own = flat[:, self.place.flatten()].permute(0, 2, 3, 1)
            shared = flat[:, int(self.place.max()) + 1 :].permute(0, 2, 3, 1)
            self._windows[radius] = _Moments(
                mean,
                own.reshape(batch, rows, cols, *self.place.shape),
                shared.reshape(batch, rows, cols, self.guides, -1),
            )
        return self._windows[radius]

    def miss(self, moments: _Moments, slopes: Tensor) -> Tensor:
        """What the coarse bands have and the regression does not explain, float32."""
        deviation = self.bands - _spread(moments.mean.float(), self.block)
        guide, coarse = deviation.tensor_split([self.guides], dim=1)
        return coarse - torch.einsum("bgcij,bgij->bcij", _spread(slopes, self.block), guide)


def _spread(x: Tensor, block: int) -> Tensor:
    """A block's value on each of its pixels; rows and columns are the last two axes."""
    if block == 1:
        return x
    return x.repeat_interleave(block, dim=-2).repeat_interleave(block, dim=-1)


def _box_sum(x_bchw: Tensor, radius: int) -> Tensor:
    """Sums over squares of 2 radius + 1 pixels; outside is 0."""
    edge = 2 * radius + 1
    rows = F.avg_pool2d(x_bchw, (edge, 1), stride=1, padding=(radius, 0), divisor_override=1)
    return F.avg_pool2d(rows, (1, edge), stride=1, padding=(0, radius), divisor_override=1)


class Regression(nn.Module):
    """Bicubic interpolation and the details that one local regression adds; nothing is trained.

    Args:
        bands_in: Number of bands for each GSD in metres; the coarsest are brought to 10 m.
        radius: Of the window, in blocks.
        ridge: See `local_regressions`.
        block: See `local_regressions`.
    """

    def __init__(
        self, bands_in: Mapping[int, int], radius: int, ridge: float, block: int = 1
    ) -> None:
        super().__init__()
        self.coarsest = max(bands_in)
        self.settings, self.block = [(radius, ridge)], block

    @property
    def alignment(self) -> int:
        """Inputs begin at multiples of so many pixels of the coarsest grid."""
        return self.block

    @property
    def margin(self) -> int:
        """Receptive field in pixels of the coarsest grid: the window, and interpolation."""
        return reach_of(self.settings, self.block)

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """Bring the coarsest bands to 10 m; arguments and result as in `NativeTrunk.forward`."""
        coarse = reflectance[self.coarsest].float()
        if measured is None:
            measured = torch.ones_like(coarse[:, :1])
        factor = self.coarsest // FINEST_GSD
        with torch.autocast(coarse.device.type, enabled=False):
            details, _ = local_regressions(reflectance, measured, self.settings, self.block)
        return bicubic(coarse, factor) + F.pixel_shuffle(details[:, 0].flatten(1, 2), factor)


def reach_of(settings: Sequence[tuple[int, float]], block: int) -> int:
    """How far regressions look, in pixels of the coarsest grid.

    The block of a pixel begins up to block - 1 pixels before it; interpolation looks two pixels on.
    """
    return (max(radius for radius, _ in settings) + 1) * block - 1 + 2
