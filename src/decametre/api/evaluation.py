"""Score super-resolution models."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from decametre.api.keywords import takes
from decametre.errors import EvaluationError
from decametre.io.result_folder import check_result_folder, result_folder
from decametre.options import PathLike, words_of
from decametre.sentinel2.source_check import check_source
from decametre.superres.evaluation.options import EvaluateOptions

if TYPE_CHECKING:
    from decametre.io.result_folder import ResultFolder
    from decametre.sentinel2.product import Product
    from decametre.superres.evaluation.results import Evaluation


@takes(EvaluateOptions)
def evaluate(
    products: Product | PathLike | Sequence[Product | PathLike], options: EvaluateOptions
) -> Evaluation:
    """Score models and bicubic interpolation by Wald's protocol; see docs/metrics.md.

    Every product is degraded, each model brings the coarsest bands back to the grid on which they
    were measured, and all are scored on the same pixels. The scores are not the error at 10 m. One
    degraded product is in memory at a time: 3.5 GB for a quarter of a tile; `window` selects a
    part.

    Args:
        products: Open products, or anything that `open` accepts.

    Returns:
        All scores; `decametre.superres.evaluation.tables` formats them.

    Raises:
        EvaluationError: No product has a pixel that can be scored.
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    scale, out = options.scale, options.out
    # A Product is not iterable; its class is not imported before the paths are checked.
    given = products if isinstance(products, Iterable) else [products]
    given = [given] if isinstance(given, str) else list(given)
    for source in given:
        if isinstance(source, str | os.PathLike):
            check_source(source)
    if out is not None:
        check_result_folder(out, overwrite=options.overwrite)
    # Imported here: rasterio and torch take seconds, which a wrong argument should not cost.
    from decametre.api.opening import opened
    from decametre.device import choose_devices
    from decametre.io.outputs import check_input_safe
    from decametre.sentinel2.parts import choose_window
    from decametre.superres.evaluation.compared_models import methods_for
    from decametre.superres.evaluation.comparison import SceneWindow, compare
    from decametre.superres.evaluation.full_scale import full_scale_scores
    from decametre.superres.evaluation.output import write_crop, write_evaluation
    from decametre.superres.evaluation.results import Evaluation
    from decametre.superres.models.registry import BANDS_FOR_SCALE

    device = choose_devices(options.device)[0]
    methods = methods_for(options.model, scale, device)
    bands_in = BANDS_FOR_SCALE[scale]
    found = [opened(product, options.offset) for product in given]
    for product in found:
        product.band_files(name for bands in bands_in.values() for name in bands)
        if out is not None:
            check_input_safe(product, out / "scores.json")
    parts = [
        SceneWindow(name, product, choose_window(product, options.window))
        for name, product in zip(numbered(p.id for p in found), found, strict=True)
    ]
    staged: AbstractContextManager[ResultFolder | None] = nullcontext()
    if out is not None:
        staged = result_folder(out, overwrite=options.overwrite)
    with staged as folder:
        draw = (lambda crop: write_crop(crop, folder)) if folder else (lambda crop: None)
        scenes, skipped = compare(parts, methods, scale, options.protocol, draw)
        if not scenes:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            raise EvaluationError(f"nothing to score at scale {scale}: {reasons}")
        full_scale = parts if options.full_scale else []
        evaluation = Evaluation(
            command=evaluation_command([product.source for product in found], options),
            scale=scale,
            kernel=options.protocol,
            bands=bands_in[max(bands_in)],
            methods=tuple(method.info for method in methods),
            scenes=tuple(scenes),
            skipped=skipped,
            full_scale=tuple(full_scale_scores(p, methods, scale, device) for p in full_scale),
        )
        if folder:
            write_evaluation(evaluation, folder)
    return evaluation


def numbered(names: Iterable[str]) -> list[str]:
    """The names, with a number for each that recurs, as parts of one product share its name."""
    counts: Counter[str] = Counter()
    found = []
    for name in names:
        counts[name] += 1
        found.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return found


def evaluation_command(sources: Sequence[str], options: EvaluateOptions) -> str:
    """The command line that repeats an evaluation."""
    words = words_of(options, always=("scale", "protocol"), exclude=("device", "overwrite"))
    return shlex.join(["decametre", "evaluate", *sources, *words])
