"""Comparison of several methods on several products by Wald's protocol."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.degradation.degraded_scene import DegradedPair, degrade_scene
from decametre.superres.evaluation.compared_models import Method
from decametre.superres.evaluation.metrics import Scores, score_image
from decametre.superres.evaluation.results import SceneScores
from decametre.superres.models.registry import BANDS_FOR_SCALE
from decametre.superres.pixels.scenes import load_scene

log = logging.getLogger(__name__)

STRIP = 1440
"""Rows of a product that are read at once, in 10 m pixels: a multiple of the degraded pixels of
both scales."""

REACH = 324
"""How far a degraded pixel may depend on others, in 10 m pixels. Gaps are filled up to
`FILL_REACH`, and the widest kernel, that of the 60 m bands, reaches 66 pixels beyond its cell."""

CROP = 180
"""Edge in pixels of the square that pictures show."""


@dataclass(frozen=True)
class SceneWindow:
    """The scored window of a product.

    Attributes:
        name: Name of the scene, unique in the evaluation.
        product: The product.
        window: In 10 m pixels, complete 60 m pixels.
    """

    name: str
    product: Product
    window: Window


@dataclass(frozen=True)
class Crop:
    """A square of a scene, for pictures; in its middle if pixels are scored there.

    Attributes:
        scene: The scene's name.
        truth: (rows, columns) of reflectance for each band; NaN where no pixel is scored.
        predicted: The same for each method's bands.
    """

    scene: str
    truth: Mapping[str, Tensor]
    predicted: Mapping[str, Mapping[str, Tensor]]


def compare(
    parts: Sequence[SceneWindow],
    methods: Sequence[Method],
    scale: int,
    kernel: str,
    on_scene: Callable[[Crop], None] = lambda crop: None,
) -> tuple[list[SceneScores], dict[str, str]]:
    """Score every method on the same pixels of every scene.

    Args:
        parts: The scenes.
        methods: From `methods_for`.
        scale: 2 or 6.
        kernel: Name of a kernel, see `degradation.kernels`.
        on_scene: Called after each scene with its crop.

    Returns:
        The scores, and the reason for each scene without scores.

    Raises:
        CorruptDataError: A file cannot be decoded.
        MissingBandError: A product lacks a band.
    """
    found, skipped = [], {}
    for number, part in enumerate(parts, start=1):
        start = time.monotonic()
        pair = degraded_pair(part, scale, kernel)
        if isinstance(pair, str):
            skipped[part.name] = pair
            log.warning("%s is not scored: %s", part.name, pair)
            continue
        scores, crop = _score(part.name, pair, methods, scale)
        found.append(scores)
        on_scene(crop)
        log.info(
            "%d of %d: %s scored in %.1f s",
            number,
            len(parts),
            part.name,
            time.monotonic() - start,
        )
    return found, skipped


def degraded_pair(part: SceneWindow, scale: int, kernel: str) -> DegradedPair | str:
    """The degraded scene with its truth, or the reason why it cannot be scored.

    Native pixels are read and degraded strip by strip, since they need ten times the memory of the
    degraded ones. Each strip is read with a margin of `REACH`.
    """
    bands_in, gsd = BANDS_FOR_SCALE[scale], FINEST_GSD * scale
    cell = scale**2  # edge of the coarsest degraded pixel, in 10 m pixels
    whole = part.window
    rows, cols = whole.height // cell, whole.width // cell
    if not min(rows, cols):
        size = f"{whole.width // scale} x {whole.height // scale}"
        return f"{size} pixels of {gsd} m; at least {scale} x {scale} are needed"
    names = [name for names in bands_in.values() for name in names]
    pairs = []
    for top in range(0, rows * cell, STRIP):
        strip = Window(whole.col, whole.row + top, whole.width, min(STRIP, rows * cell - top))
        outer = strip.padded(REACH).intersection(whole)
        degraded = degrade_scene(load_scene(part.product, names, outer), kernel, bands_in)
        at = strip.relative_to(outer).coarsened(scale)
        pairs.append(degraded.pair(at.row, at.col, at.height, cols * scale))
    pair = DegradedPair(
        {gsd: torch.cat([p.inputs[gsd] for p in pairs], dim=2) for gsd in bands_in},
        torch.cat([p.target for p in pairs], dim=2),
        torch.cat([p.mask for p in pairs], dim=2),
        torch.cat([p.measured for p in pairs], dim=2),
    )
    if not pair.mask.any():
        return "no pixel was measured together with all of its inputs"
    return pair


def _score(
    name: str, pair: DegradedPair, methods: Sequence[Method], scale: int
) -> tuple[SceneScores, Crop]:
    """Score all methods on one scene; only a crop of the predictions is kept."""
    bands_in = BANDS_FOR_SCALE[scale]
    bands = bands_in[max(bands_in)]
    target, mask = pair.target[0], pair.mask[0]
    middle = _pictured(mask)
    gone = torch.tensor(float("nan"))

    def crops(image: Tensor, names: Sequence[str], kept: Tensor) -> dict[str, Tensor]:
        planes = torch.where(kept[:, *middle], image[:, *middle], gone)
        return dict(zip(names, planes, strict=True))

    scores: dict[str, Scores] = {}
    predicted: dict[str, dict[str, Tensor]] = {}
    for method in methods:
        made = method.model.card.bands_out
        # By wavelength, whatever the model's own order.
        names = [band for band in bands if band in made]
        image = method.predict(pair.inputs, bands_in, pair.measured)
        image = image[[made.index(band) for band in names]]
        at = [bands.index(band) for band in names]
        scores[method.label] = score_image(image, target[at], mask[at], names, scale)
        predicted[method.label] = crops(image, names, mask[at])
    pixels = dict(zip(bands, mask.sum(dim=(1, 2)).tolist(), strict=True))
    return SceneScores(name, pixels, scores), Crop(name, crops(target, bands, mask), predicted)


def _pictured(mask: Tensor) -> tuple[slice, slice]:
    """Slices of the square of (bands, rows, columns) that pictures show.

    It is in the middle, or else around a scored pixel near the middle.
    """
    starts = [max(0, side - CROP) // 2 for side in mask.shape[-2:]]
    middle = slice(starts[0], starts[0] + CROP), slice(starts[1], starts[1] + CROP)
    if not mask[:, *middle].any():
        scored = mask.any(dim=0)
        row = _nearest_to_middle(scored.any(dim=1))
        starts = [
            min(max(0, at - CROP // 2), max(0, side - CROP))
            for at, side in zip((row, _nearest_to_middle(scored[row])), scored.shape, strict=True)
        ]
    return slice(starts[0], starts[0] + CROP), slice(starts[1], starts[1] + CROP)


def _nearest_to_middle(line: Tensor) -> int:
    """Index of the true value that is nearest to the middle of a line with one or more."""
    found = line.nonzero().flatten()
    return int(found[(found - len(line) / 2).abs().argmin()])
