"""How much the error of models depends on the degradation kernel.

Products are degraded by one kernel after another, and each model's RMSE is divided by that of
bicubic interpolation on the same pixels. A model for unknown products should depend little on it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas
import torch
import torch.nn.functional as F
from torch import Tensor

from decametre.options import KERNELS
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.opening import open_product
from decametre.superres.degradation.degraded_scene import (
    DegradedPair,
    DegradedScene,
    degrade_with_taps,
)
from decametre.superres.degradation.kernels import blurred_square_taps, kernel_taps
from decametre.superres.evaluation.degraded import rmse
from decametre.superres.models.prediction import predict, predict_bicubic
from decametre.superres.models.registry import BANDS_FOR_SCALE, load_model
from decametre.superres.pixels.scenes import Scene, load_scene

log = logging.getLogger(__name__)

NOMINAL = "nominal"
"""A Gaussian with each band's nominal gain, as if the image had no blur of its own."""

REACH = 3
"""Where Gaussians are cut off, in coarse pixels beyond the coarse pixel's own cell."""

DSEN2_PADDING = {2: 8, 6: 12}
"""Mirrored pixels around an image before the published DSen2 networks; they have no padding."""

Predictor = Callable[[DegradedPair], Tensor]


@dataclass(frozen=True)
class KernelScore:
    """The score of one model on one product degraded by one kernel.

    Attributes:
        kernel: Name of the kernel, or its gain at the coarse Nyquist frequency.
        model: Name of the model.
        product: Identifier of the product.
        ratio: RMSE divided by that of bicubic interpolation, mean over bands.
    """

    kernel: str
    model: str
    product: str
    ratio: float


@dataclass(frozen=True)
class KernelReport:
    """The scores of models under several kernels."""

    scale: int
    scores: tuple[KernelScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def table(self) -> str:
        """The mean ratio over products of each model under each kernel, in Markdown."""
        scores = pandas.DataFrame([asdict(score) for score in self.scores])
        means = scores.pivot_table("ratio", "kernel", "model", sort=False)
        lines = [f"| {self.scale}x | " + " | ".join(means.columns) + " |"]
        lines.append("|---|" + "---:|" * len(means.columns))
        for kernel, ratios in means.iterrows():
            lines.append(f"| {kernel} | " + " | ".join(f"{ratio:.3f}" for ratio in ratios) + " |")
        return "\n".join(lines)


def run(
    products: Sequence[str],
    scale: int,
    kernels: Sequence[str],
    models: Sequence[str],
    dsen2_weights: Path | None = None,
) -> KernelReport:
    """Score models on degraded products.

    Args:
        products: Products with all bands of the scale.
        scale: 2 or 6.
        kernels: `dsen2`, `mtf`, `nominal`, or gains at the coarse Nyquist frequency.
        models: Names or folders of models.
        dsen2_weights: Folder with the published DSen2 networks in TorchScript (`L1C20M.pt`,
            `L1C60M.pt`, `L2A20M.pt`, `L2A60M.pt`), to be scored as `dsen2 (published)`.
    """
    bands_in = BANDS_FOR_SCALE[scale]
    scores: list[KernelScore] = []
    predictors = {name: _network(name) for name in models}
    for source in products:
        product = open_product(source)
        if dsen2_weights is not None:
            file = dsen2_weights / f"{product.level}{scale * FINEST_GSD}M.pt"
            predictors["dsen2 (published)"] = _published_dsen2(file, scale)
        scene = load_scene(product, [name for names in bands_in.values() for name in names])
        for kernel in kernels:
            pair = degraded_by(scene, kernel, bands_in, scale).full_pair()
            if not pair.mask.any():
                log.warning("%s has no pixel to score under kernel %s", product.id, kernel)
                continue
            baseline = rmse(predict_bicubic(pair.inputs), pair)
            for name, predicted in predictors.items():
                ratios = [
                    of_model / of_bicubic
                    for of_model, of_bicubic in zip(
                        rmse(predicted(pair), pair), baseline, strict=True
                    )
                    if math.isfinite(of_bicubic)
                ]
                scores.append(KernelScore(kernel, name, product.id, sum(ratios) / len(ratios)))
    return KernelReport(scale, tuple(scores))


def degraded_by(
    scene: Scene, kernel: str, bands_in: Mapping[int, tuple[str, ...]], scale: int
) -> DegradedScene:
    """The scene degraded by a kernel of `run`."""

    def taps(names: tuple[str, ...]) -> Tensor:
        if kernel in KERNELS:
            return kernel_taps(kernel, names, scale)
        gains = [ALL_BANDS[name].mtf if kernel == NOMINAL else float(kernel) for name in names]
        return torch.stack([blurred_square_taps(gain, 0.0, scale, REACH * scale) for gain in gains])

    return degrade_with_taps(scene, {gsd: taps(names) for gsd, names in bands_in.items()})


def _network(name: str) -> Predictor:
    """A model of decametre."""
    model = load_model(name)
    card = model.card
    return lambda pair: predict(
        model.network, pair.inputs, card.margin, card.alignment, measured=pair.measured
    )


def _published_dsen2(file: Path, scale: int) -> Predictor:
    """The published DSen2 network: bands B04 B03 B02 B08, DN / 2000, bilinear interpolation."""
    network = torch.jit.load(file, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    padding = DSEN2_PADDING[scale]

    def upsampled(image: Tensor, factor: int) -> Tensor:
        image = F.pad(image, (1, 1, 1, 1), mode="replicate")
        fine = F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
        return fine[..., factor:-factor, factor:-factor]

    def predicted(pair: DegradedPair) -> Tensor:
        ten = pair.inputs[10][:, [2, 1, 0, 3]]
        images = [ten, *(upsampled(x, gsd // 10) for gsd, x in pair.inputs.items() if gsd > 10)]
        padded = [F.pad(x * 5, (padding,) * 4, mode="reflect") for x in images]
        with torch.inference_mode():
            return network(*padded)[..., padding:-padding, padding:-padding] / 5

    return predicted
