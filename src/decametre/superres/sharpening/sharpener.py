"""Sharpening of one window, from native pixels to bands at 10 m."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from decametre.device import autocast
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.radiometry import Radiometry
from decametre.superres.models.adaptive import AdaptiveTrunk
from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.card import Card
from decametre.superres.models.guided import GuidedTrunk
from decametre.superres.models.registry import Model
from decametre.superres.models.uncertainty import Uncertainty
from decametre.superres.pixels.stack import Stack, reach_for
from decametre.superres.sharpening.consistency import STEPS, Consistency, ResidualSums
from decametre.superres.sharpening.outliers import REACH as OUTLIER_REACH
from decametre.superres.sharpening.outliers import count_outliers

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class SharpenedWindow:
    """The result for one core.

    Attributes:
        core: Its window in 10 m pixels of the product.
        dn: uint16, (rows, columns) at 10 m for each band, in the product's DN, with nodata and
            saturated pixels restored.
        reflectance: float32, (rows, columns) at 10 m for each sharpened band, not rounded to DN;
            NaN where there is no data.
        residuals: Consistency residual of each model's bands over the core.
        outliers: Number of pixels of each model's bands over the core that are far outside the
            range of the coarse pixels around them, see `count_outliers`.
        deviations: float32, (rows, columns) at 10 m for each sharpened band: standard deviation of
            its error in reflectance; NaN where there is no data, and for bands that were
            interpolated bicubically. Empty if it was not requested.
    """

    core: Window
    dn: Mapping[str, np.ndarray]
    reflectance: Mapping[str, np.ndarray]
    residuals: Mapping[str, ResidualSums]
    outliers: Mapping[str, Tensor]
    deviations: Mapping[str, np.ndarray]


class _ModelResult(NamedTuple):
    """The result of one model for one core; see `SharpenedWindow`."""

    fine: np.ndarray
    residuals: ResidualSums
    outliers: Tensor
    deviations: np.ndarray | None


class Sharpener:
    """Runs models on windows, on one device.

    The margin of every window follows from the models' cards, so the result of a pixel does not
    depend on the tiling.

    Args:
        models: From `registry.models_for`, adapted to the product by `adaptation.adapt_models`.
        bands: Bands of the output.
        device: Device of the networks.
        precision: `torch.float32`, or `torch.bfloat16` for autocast.
        consistent: Project the result so that it reproduces the input when degraded by the
            sensor's MTF.
        uncertainties: For each model by name, the network that predicts its uncertainty; none by
            default.

    Attributes:
        bicubic_bands: Bands for which bicubic interpolation is used in place of the networks.
    """

    bicubic_bands: frozenset[str] = frozenset()

    def __init__(
        self,
        models: Sequence[Model],
        bands: Sequence[str],
        device: torch.device,
        precision: torch.dtype,
        consistent: bool = False,
        uncertainties: Mapping[str, Uncertainty] | None = None,
    ) -> None:
        assert not any(isinstance(m.network, AdaptiveTrunk) for m in models), "adapt models first"
        self.bands = tuple(bands)
        self.device, self.precision = device, precision
        self.steps = STEPS if consistent else 0
        self.models = [Model(model.card, copied_to(device, model.network)) for model in models]
        self.uncertainties = {
            name: Uncertainty(uncertainty.card, copied_to(device, uncertainty.network))
            for name, uncertainty in (uncertainties or {}).items()
        }
        self.checks = {
            m.card.name: Consistency(m.card.bands_out, m.card.scale) for m in self.models
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """The bands that must be read."""
        return inputs_of(self.models, self.bands)

    @property
    def step(self) -> int:
        """Cores start at multiples of this number of 10 m pixels."""
        return step_of(self.inputs)

    @property
    def reach(self) -> int:
        """How far gaps must be filled around a core, in 10 m pixels."""
        return reach_for(max([0, *(self._halo(model) for model in self.models)]))

    @property
    def halo(self) -> int:
        """How far around a core pixels must be read, in 10 m pixels.

        This is the models' margin, plus the distance from which gaps in the margin are filled.
        """
        margin = max([0, *(self._halo(model) for model in self.models)])
        rim = 2 * self.step
        return -(-(margin + self.reach + rim) // self.step) * self.step

    def _halo(self, model: Model) -> int:
        """A model's margin with that of what follows it, in 10 m pixels.

        A core may start in the middle of an attention window, so `alignment` - 1 is added.
        """
        card = model.card
        return (card.margin + self._rim(card) + card.alignment - 1) * card.scale

    def _rim(self, card: Card) -> int:
        """How far around a core a model's result is needed, in pixels of its coarsest grid.

        The consistency check and the prediction of uncertainty need it.
        """
        check = self.checks[card.name].margin(self.steps)
        uncertainty = self.uncertainties.get(card.name)
        return max(check, uncertainty.network.margin if uncertainty else 0)

    def __call__(
        self, stack: Stack, window: Window, core: Window, radiometry: Mapping[str, Radiometry]
    ) -> SharpenedWindow:
        """Sharpen one core.

        Args:
            stack: Pixels of `window`.
            window: The core with at least `halo` on each side, in 10 m pixels of the product.
            core: The part to sharpen.
            radiometry: Scale and offset of each band.
        """
        dn: dict[str, np.ndarray] = {}
        reflectance: dict[str, np.ndarray] = {}
        residuals: dict[str, ResidualSums] = {}
        outliers: dict[str, Tensor] = {}
        deviations: dict[str, np.ndarray] = {}
        for name in self.bands:
            if ALL_BANDS[name].gsd == FINEST_GSD:
                dn[name] = band_plane(stack.dn, stack, name)[core.relative_to(window).slices]
        for model in self.models:
            scale, names = model.card.scale, model.card.bands_out
            at = core.relative_to(window).coarsened(scale).slices
            if any(band_plane(stack.valid, stack, name)[at].any() for name in names):
                result = self._run(model, stack, window, core)
            else:
                nothing = np.zeros((len(names), core.height, core.width), np.float32)
                result = _ModelResult(
                    nothing,
                    ResidualSums.zeros(names),
                    torch.zeros(len(names), dtype=torch.int64),
                    nothing if model.card.name in self.uncertainties else None,
                )
            residuals[model.card.name] = result.residuals
            outliers[model.card.name] = result.outliers
            for index, (name, image) in enumerate(zip(names, result.fine, strict=True)):
                if name in self.bands and name not in dn:  # else an earlier model sharpened it
                    coarse = band_plane(stack.dn, stack, name)[at]
                    unmeasured = ~band_plane(stack.valid, stack, name)[at]
                    reflectance[name], dn[name] = restore(
                        image, coarse, unmeasured, radiometry[name], scale
                    )
                    if result.deviations is not None:
                        unknown = np.isnan(reflectance[name]) | (name in self.bicubic_bands)
                        deviations[name] = np.where(
                            unknown, np.float32(np.nan), result.deviations[index]
                        )
        return SharpenedWindow(core, dn, reflectance, residuals, outliers, deviations)

    @torch.inference_mode()
    def _run(self, model: Model, stack: Stack, window: Window, core: Window) -> _ModelResult:
        """Run one network on one core."""
        card, check = model.card, self.checks[model.card.name]
        kept = core.padded(self._rim(card) * card.scale)
        aligned = kept.padded(card.margin * card.scale).snapped(card.alignment * card.scale)
        inputs = {
            gsd: self._tensor(stack, names, gsd, aligned.relative_to(window))
            for gsd, names in card.bands_in.items()
        }
        measured = self._measured(stack, card, aligned, window)
        unused = {"unused": card.margin} if isinstance(model.network, GuidedTrunk) else {}
        with autocast(self.device, self.precision):
            fine = model.network(inputs, measured, **unused).float()
        deviations = self._deviations(card, inputs, fine, aligned, kept, core)
        for index, name in enumerate(card.bands_out):
            if name in self.bicubic_bands:
                coarse = inputs[card.coarsest][:, index : index + 1]
                fine[:, index : index + 1] = bicubic(coarse, card.scale)
        rows, cols = kept.relative_to(aligned).slices
        fine = fine[..., rows, cols]
        rows, cols = kept.relative_to(aligned).coarsened(card.scale).slices
        coarse = inputs[card.coarsest][..., rows, cols]
        rows, cols = kept.relative_to(window).coarsened(card.scale).slices
        valid = torch.from_numpy(
            np.stack([band_plane(stack.valid, stack, n)[rows, cols] for n in card.bands_out])
        )[None].to(self.device)
        if self.steps:
            fine = check.project(fine, coarse, valid, self.steps)
        residual = check.residual(fine, coarse)
        rows, cols = core.relative_to(kept).coarsened(card.scale).slices
        sums = ResidualSums.of(
            residual[..., rows, cols], coarse[..., rows, cols], valid[..., rows, cols]
        )
        valid = valid[..., rows, cols]
        near = core.padded(OUTLIER_REACH * card.scale).relative_to(aligned).coarsened(card.scale)
        rows, cols = core.relative_to(kept).slices
        fine = fine[..., rows, cols]
        nearby = inputs[card.coarsest][..., *near.slices]
        outliers = count_outliers(fine, nearby, valid, card.scale)
        return _ModelResult(fine[0].cpu().numpy(), sums, outliers, deviations)

    def _deviations(
        self,
        card: Card,
        inputs: Mapping[int, Tensor],
        fine: Tensor,
        aligned: Window,
        kept: Window,
        core: Window,
    ) -> np.ndarray | None:
        """Standard deviations of a model's errors, (bands, rows, columns) of the core.

        Args:
            card: The model's card.
            inputs: Its inputs for `aligned`.
            fine: Its result for `aligned`.
            aligned: The window of the inputs.
            kept: The part of it in which the result does not depend on the window's edge.
            core: The part of that for which deviations are computed.
        """
        if card.name not in self.uncertainties:
            return None
        inside = kept.relative_to(aligned)
        parts = {}
        for gsd, image in inputs.items():
            rows, cols = inside.coarsened(gsd // FINEST_GSD).slices
            parts[gsd] = image[..., rows, cols]
        rows, cols = inside.slices
        with autocast(self.device, self.precision):
            found = self.uncertainties[card.name].deviation(parts, fine[..., rows, cols])
        rows, cols = core.relative_to(kept).slices
        return found[0, :, rows, cols].cpu().numpy()

    def _measured(self, stack: Stack, card: Card, at: Window, window: Window) -> Tensor:
        """The share of a model's inputs that was measured, as in `DegradedPair`.

        (1, 1, rows, columns) on the model's coarsest grid, on the device.
        """
        inside = at.relative_to(window)
        shape = at.height // card.scale, at.width // card.scale
        measured = np.ones(shape, np.float32)
        for gsd, names in card.bands_in.items():
            rows, cols = inside.coarsened(gsd // FINEST_GSD).slices
            planes = np.stack([band_plane(stack.valid, stack, name)[rows, cols] for name in names])
            if gsd == card.coarsest:
                measured *= planes.all(axis=0)
            else:
                fold = card.coarsest // gsd
                cells = planes.reshape(len(names), shape[0], fold, shape[1], fold)
                measured *= cells.mean(axis=(0, 2, 4), dtype=np.float32)
        return torch.from_numpy(measured)[None, None].to(self.device)

    def _tensor(self, stack: Stack, names: Sequence[str], gsd: int, at: Window) -> Tensor:
        """Reflectance of some bands of one GSD, (1, bands, rows, columns), on the device."""
        rows, cols = at.coarsened(gsd // FINEST_GSD).slices
        index = [stack.bands[gsd].index(name) for name in names]
        image = torch.from_numpy(stack.reflectance[gsd][index, rows, cols])[None]
        return image.to(self.device, memory_format=torch.channels_last)


def copied_to(device: torch.device, network: Network) -> Network:
    """A copy of a network on a device, in channels-last memory."""
    return copy.deepcopy(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def inputs_of(models: Sequence[Model], bands: Sequence[str]) -> tuple[str, ...]:
    """The bands that must be read: those of the output and the models' inputs."""
    needed = {name for model in models for name in model.card.bands} | set(bands)
    return tuple(name for name in ALL_BANDS if name in needed)


def step_of(bands: Sequence[str]) -> int:
    """The edge of the coarsest band's pixel, in 10 m pixels."""
    return max(ALL_BANDS[name].gsd for name in bands) // FINEST_GSD


def band_plane(arrays: Mapping[int, np.ndarray], stack: Stack, name: str) -> np.ndarray:
    """One band's plane of a stack's arrays."""
    gsd = ALL_BANDS[name].gsd
    plane: np.ndarray = arrays[gsd][stack.bands[gsd].index(name)]
    return plane


def restore(
    image: np.ndarray,
    coarse: np.ndarray,
    unmeasured: np.ndarray,
    radiometry: Radiometry,
    scale: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Restore nodata and saturated pixels, and convert to DN.

    Args:
        image: (rows, columns) of reflectance at 10 m.
        coarse: DN of the same ground on the band's native grid.
        unmeasured: True where `coarse` is not a measurement.
        radiometry: Radiometry of the band.
        scale: Ratio of the grids.

    Returns:
        Reflectance and DN. Where there is no measurement, they are NaN and the input's value.
    """
    dn = radiometry.to_dn(image)
    if unmeasured.any():
        cell = np.ones((scale, scale), bool)
        mask = np.kron(unmeasured, cell)
        dn[mask] = np.kron(coarse, cell.astype(coarse.dtype))[mask]
        image = np.where(mask, np.float32(np.nan), image)
    return image, dn
