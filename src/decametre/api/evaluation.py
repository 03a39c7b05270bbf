"""Score models that sharpen."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from decametre.api.arguments import PathLike, unique
from decametre.api.opening import opened
from decametre.api.window import choose_window
from decametre.choices import KERNELS
from decametre.device import choose_devices
from decametre.errors import EvaluationError, UnknownNameError
from decametre.io.result_folder import ResultFolder, result_folder
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.evaluation.compared_models import methods_for
from decametre.superres.evaluation.comparison import Part, compare
from decametre.superres.evaluation.full_scale import full_scale_scores
from decametre.superres.evaluation.output import write_crop, write_evaluation
from decametre.superres.evaluation.results import Evaluation
from decametre.superres.models.registry import BANDS_FOR_SCALE
from decametre.superres.sharpening.sharpening_job import check_apart


def evaluate(
    products: Product | PathLike | Sequence[Product | PathLike],
    *,
    scale: int = 2,
    model: str | Sequence[str] = (),
    protocol: str = "dsen2",
    window: Window | tuple[int, int, int, int] | None = None,
    offset: str | float = "auto",
    device: str = "auto",
    full_scale: bool = False,
    out: PathLike | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Score models beside bicubic interpolation by Wald's protocol; docs/metrics.md defines all.

    Every product is degraded, each model brings the coarsest bands back to the grid on which they
    were measured, and all are scored on the same pixels. That is not the error at 10 m. One
    degraded product is in memory at a time: 3.5 GB for a quarter of a tile; `window` takes a part.

    Args:
        products: Open products, or what `open` takes.
        scale: 2: the 20 m bands, 40 to 20 m. 6: the 60 m bands, 360 to 60 m.
        model: Names of models or of families, or model folders; the default family without.
        protocol: Kernel that degrades the products, `dsen2` or `mtf`.
        window: Part of every product, as in `sharpen`.
        offset: See `open`; only where a product is not open yet.
        device: As in `sharpen`; of several GPUs the first.
        full_scale: Also sharpen the products to 10 m and take the indices that need no truth.
        out: A folder to make, with `scores.json`, `scores.csv`, `scores.md` and `figures/`.
        overwrite: Replace an earlier evaluation in `out`.

    Returns:
        All scores; `decametre.superres.evaluation.tables` shows them.

    Raises:
        EvaluationError: No product has a pixel that can be scored.
        DecametreError: Another of its subclasses says what the user can mend.
    """
    if scale not in BANDS_FOR_SCALE:
        raise UnknownNameError("scale", str(scale), map(str, BANDS_FOR_SCALE))
    if protocol not in KERNELS:
        raise UnknownNameError("degradation kernel", protocol, KERNELS)
    given = [products] if isinstance(products, Product | str | os.PathLike) else list(products)
    names = [model] if isinstance(model, str) else list(model)
    chosen = choose_devices(device)[0]
    methods = methods_for(names, scale, chosen)
    bands_in = BANDS_FOR_SCALE[scale]
    found = [opened(p, offset) for p in given]
    for product in found:
        product.band_files(name for bands in bands_in.values() for name in bands)
        if out is not None:
            check_apart(product, Path(out) / "scores.json")
    parts = [
        Part(name, product, choose_window(product, window, None))
        for name, product in zip(unique(p.id for p in found), found, strict=True)
    ]
    staged: AbstractContextManager[ResultFolder | None] = nullcontext()
    if out is not None:
        staged = result_folder(Path(out), overwrite=overwrite)
    with staged as folder:
        scenes, skipped = compare(
            parts,
            methods,
            scale,
            protocol,
            (lambda crop: write_crop(crop, folder)) if folder else (lambda crop: None),
        )
        if not scenes:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            raise EvaluationError(f"nothing to score at scale {scale}: {reasons}")
        evaluation = Evaluation(
            command=evaluation_command(
                found, scale, names, protocol, window, offset, full_scale=full_scale, out=out
            ),
            scale=scale,
            kernel=protocol,
            bands=bands_in[max(bands_in)],
            methods=tuple(method.info for method in methods),
            scenes=tuple(scenes),
            skipped=skipped,
            full_scale=tuple(
                full_scale_scores(part, methods, scale, chosen) for part in parts if full_scale
            ),
        )
        if folder:
            write_evaluation(evaluation, folder)
    return evaluation


def evaluation_command(
    products: Sequence[Product],
    scale: int,
    models: Sequence[str],
    protocol: str,
    window: Window | tuple[int, int, int, int] | None,
    offset: str | float,
    *,
    full_scale: bool,
    out: PathLike | None,
) -> str:
    """The command line that makes an evaluation again."""
    words = ["decametre", "evaluate", *(product.source for product in products)]
    words += ["--scale", str(scale), "--protocol", protocol]
    for name in models:
        words += ["--model", name]
    if window is not None:
        part = window if isinstance(window, Window) else Window(*window)
        words += ["--window", str(part)]
    if offset != "auto":
        words += ["--offset", str(offset)]
    if full_scale:
        words.append("--full-scale")
    if out is not None:
        words += ["--out", os.fspath(out)]
    return shlex.join(words)
