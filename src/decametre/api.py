"""What Python users call. The command line calls the same and adds nothing."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterio.warp import transform_bounds

from decametre.bands import BAND_NAMES, parse_bands
from decametre.degradation import KERNELS
from decametre.errors import EvaluationError, GridError, UnknownNameError
from decametre.grid import Window
from decametre.inference.device import choose_devices
from decametre.inference.job import Options, Progress, Result, check_apart, run
from decametre.inference.pipeline import DEFAULT_TILE
from decametre.io.opening import open_product
from decametre.io.product import Product
from decametre.models.registry import BANDS_FOR_SCALE, models_for

if TYPE_CHECKING:
    from decametre.evaluation.multilabel_results import LandCoverEvaluation
    from decametre.evaluation.output import ResultFolder
    from decametre.evaluation.results import Evaluation
    from decametre.inference.land_cover_map import LandCoverMap
    from decametre.patches.extraction import Extraction
    from decametre.patches.importing import ImportResult
    from decametre.patches.plan import Plan
    from decametre.training.job import TrainingResult

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

COARSEST = 6
"""Edge of a 60 m pixel in 10 m pixels."""


def open(source: PathLike, offset: str | float = "auto") -> Product:
    """Open a Sentinel-2 product; no pixel is read.

    Args:
        source: A SAFE folder, a SAFE .zip, the path of its MTD_MSI*.xml, or a STAC item (path or
            URL).
        offset: Radiometric offset: `auto` (as the product says), `none`, or a number of DN such
            as -1000.

    Raises:
        NotAProductError: It is none of these.
        CorruptDataError: A file is damaged.
        GridError: The bands' grids do not fit one another.
    """
    return open_product(os.fspath(source), offset)


def sharpen(
    product: Product | PathLike,
    output: PathLike,
    *,
    bands: Sequence[str] = BAND_NAMES,
    window: Window | tuple[int, int, int, int] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    offset: str | float = "auto",
    model: str | Sequence[str] = (),
    device: str = "auto",
    precision: str = "auto",
    consistent: bool = False,
    encoding: str = "dn",
    compression: str = "deflate",
    quicklook: bool = False,
    overwrite: bool = False,
    tile: int = DEFAULT_TILE,
    progress: Progress = lambda done, total, pixels: None,
) -> Result:
    """Bring the bands of a Sentinel-2 product to ten metres.

    Writes a Cloud-Optimized GeoTIFF, and beside it a STAC item and a quality card. The 10 m bands
    and the grid pass through bit for bit.

    Args:
        product: An open product, or what `open` takes.
        output: The GeoTIFF. The item is `NAME.json`, the card `NAME.quality.json`.
        bands: Bands of the output; all twelve by default.
        window: Part of the product as (column, row, width, height) in 10 m pixels; snapped
            outward to whole pixels of 60 m.
        bbox: Part of the product as (west, south, east, north) in degrees of longitude and
            latitude; snapped likewise.
        offset: See `open`; only where `product` is not open yet.
        model: Names of models or of families, or model folders. Bands that none of them makes
            come from the default family.
        device: `auto` (all GPUs, else the processor), `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (bfloat16 where the device is fast at it), `float32` or `bfloat16`.
        consistent: Project the result so that, seen through the sensor's MTF, it gives the input.
        encoding: `dn`: uint16 in the input's own DN, offset and nodata. `reflectance`: float32
            with NaN as nodata.
        compression: `deflate` or `zstd`.
        quicklook: Also write a before/after picture, `NAME.quicklook.png`.
        overwrite: Replace an existing output.
        tile: Edge in 10 m pixels of what is computed at once; less takes less memory.
        progress: Called with the windows done, all windows, and the 10 m pixels done.

    Returns:
        The paths written, and the quality card.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    if not isinstance(product, Product):
        product = open(product, offset)
    names = parse_bands(bands)
    models = models_for(names, [model] if isinstance(model, str) else model)
    log.info("offset: %s", product.offset_reason)
    part = choose_window(product, window, bbox)
    options = Options(
        device=device,
        precision=precision,
        consistent=consistent,
        encoding=encoding,
        compression=compression,
        quicklook=quicklook,
        overwrite=overwrite,
        tile=tile,
    )
    return run(product, Path(output), models, names, part, options, progress)


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
        All scores; `decametre.evaluation.tables` shows them.

    Raises:
        EvaluationError: No product has a pixel that can be scored.
        DecametreError: Another of its subclasses says what the user can mend.
    """
    # torchmetrics takes a second to import, which `sharpen` should not wait for.
    from decametre.evaluation.comparison import Part, compare
    from decametre.evaluation.full_scale import full_scale_scores
    from decametre.evaluation.methods import methods_for
    from decametre.evaluation.results import Evaluation

    if scale not in BANDS_FOR_SCALE:
        raise UnknownNameError("scale", str(scale), map(str, BANDS_FOR_SCALE))
    if protocol not in KERNELS:
        raise UnknownNameError("degradation kernel", protocol, KERNELS)
    given = [products] if isinstance(products, Product | str | os.PathLike) else list(products)
    names = [model] if isinstance(model, str) else list(model)
    chosen = choose_devices(device)[0]
    methods = methods_for(names, scale, chosen)
    bands_in = BANDS_FOR_SCALE[scale]
    opened = [p if isinstance(p, Product) else open(p, offset) for p in given]
    for product in opened:
        product.band_files(name for bands in bands_in.values() for name in bands)
        if out is not None:
            check_apart(product, Path(out) / "scores.json")
    parts = [
        Part(name, product, choose_window(product, window, None))
        for name, product in zip(unique(p.id for p in opened), opened, strict=True)
    ]
    staged: AbstractContextManager[ResultFolder | None] = nullcontext()
    if out is not None:
        from decametre.evaluation.output import result_folder  # matplotlib

        staged = result_folder(Path(out), overwrite=overwrite)
    with staged as folder:
        scenes, skipped = compare(
            parts, methods, scale, protocol, folder.draw if folder else lambda crop: None
        )
        if not scenes:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            raise EvaluationError(f"nothing to score at scale {scale}: {reasons}")
        evaluation = Evaluation(
            command=evaluation_command(
                opened, scale, names, protocol, window, offset, full_scale=full_scale, out=out
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
            folder.finish(evaluation)
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


def unique(names: Iterable[str]) -> list[str]:
    """The names, those that come again with a number: parts of one product share its name."""
    counts: dict[str, int] = {}
    found = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        found.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return found


def train(
    recipe: PathLike,
    out: PathLike | None = None,
    *,
    train: Sequence[str] = (),
    validation: Sequence[str] = (),
    init: str | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
    resume: str = "auto",
    progress: Progress = lambda done, total, samples: None,
) -> TrainingResult:
    """Train a network by a recipe, or go on where a run in the same folder stopped.

    Under torchrun or srun, all processes of the job train together.

    Args:
        recipe: A YAML file, or the name of a shipped recipe such as `native_2x`.
        out: The run's folder: the model with the best validation score, the checkpoint, a log,
            TensorBoard events and pictures. The recipe's name without.
        train: Products, or patterns of paths, to train on, in place of the recipe's.
        validation: Products, or patterns, to choose the weights by, in place of the recipe's.
        init: Name or folder of a model whose weights the network starts with.
        settings: Other values for keys of the recipe, such as `{"optimization.steps": 2000}`.
        device: `auto` (a GPU, else the processor), `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (bfloat16 where the device is fast at it), `float32` or `bfloat16`.
        resume: `auto` (from the newest checkpoint in `out`, if any), `never`, or the path of a
            checkpoint.
        progress: Called with the steps done, all steps, and the samples seen.

    Returns:
        The model's folder and its card.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    # pydantic and TensorBoard take a second to import, which `sharpen` should not wait for.
    from decametre.training import job
    from decametre.training.recipe import read_recipe

    checked = read_recipe(os.fspath(recipe), settings, train, validation)
    folder = Path(checked.name if out is None else out)
    return job.run(checked, folder, init, device, precision, resume, progress)


def import_patches(
    archive: PathLike,
    output: PathLike,
    *,
    metadata: Sequence[PathLike] = (),
    classes: int | None = None,
    exclude: Sequence[PathLike] = (),
    splits: Mapping[str, PathLike] | None = None,
    skip_damaged: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total, count: None,
) -> ImportResult:
    """Make a store of a published archive, or go on where a run for the same output was killed.

    Args:
        archive: An unpacked BigEarthNet v1 or v2, or the LMDB that rico-hdl makes of v2.
        output: The HDF5 file to make.
        metadata: BigEarthNet v2's `metadata.parquet`, where it does not stand beside an archive of
            v2. Patches that it does not name are left out. With v1, it gives splits and countries.
        classes: 43 or 19; those of the archive without. v1 has 43, and can give 19.
        exclude: Lists of patches to leave out, as published with BigEarthNet.
        splits: By split, a list of its patches; those on no list are left out.
        skip_damaged: Leave out patches that cannot be read, and say which.
        overwrite: Replace an existing output.
        progress: Called with patches done, all patches, and patches read by this run.

    Returns:
        How many patches the store holds, and how many were left out for which reason.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    from decametre.patches import importing

    return importing.import_patches(
        Path(archive),
        Path(output),
        tables=[Path(path) for path in metadata],
        classes=classes,
        exclude=[Path(path) for path in exclude],
        splits={split: Path(path) for split, path in (splits or {}).items()},
        skip_damaged=skip_damaged,
        overwrite=overwrite,
        progress=progress,
    )


def extract_patches(
    products: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    patches: PathLike | None = None,
    stride: int = 1200,
    label_column: str = "labels",
    labels: PathLike | None = None,
    label_names: PathLike | None = None,
    label_share: float = 0.0,
    classes: int | None = None,
    sharpened: Sequence[PathLike] = (),
    sharpen: bool = False,
    model: str | Sequence[str] = (),
    device: str = "auto",
    native: bool = True,
    exclude: Sequence[PathLike] = (),
    no_cloud: bool = False,
    no_shadow: bool = False,
    no_snow: bool = False,
    limit: float = 0.05,
    skip_misfits: bool = False,
    workers: int | None = None,
    offset: str | float = "auto",
    overwrite: bool = False,
    progress: Progress = lambda done, total, count: None,
) -> Extraction:
    """Cut patches of 1200 m from products, or go on where a run for the same output was ended.

    Args:
        products: What `open` takes, one or several.
        output: The HDF5 file to make. With several workers it presents the files of a folder
            `NAME.shards` beside it.
        patches: Which patches: BigEarthNet's `metadata.parquet`, an unpacked BigEarthNet v1, names
            in a text file, or a grid as GeoJSON or GeoParquet. The whole grid of each product
            without.
        stride: Of the whole grid: metres from one patch to the next; with less than 1200 they
            overlap.
        label_column: Of a grid: its column of labels.
        labels: A raster of classes to take labels from, in place of the list's.
        label_names: Names of the raster's classes, JSON or CSV. Without, those that the raster
            holds (`label_product`), else CORINE's.
        label_share: A patch has the classes that cover at least this share of it, and a pixel; of
            its pixels, those count for which the raster has data.
        classes: 43 or 19; those of the labels without. 43 can become 19.
        sharpened: Results of `sharpen`, of all bands in DN, each of one of the products; for
            `data_super`.
        sharpen: Sharpen those products of which no such result is given.
        model: As in `sharpen`, for those.
        device: Likewise.
        native: Also keep the bands as measured, on their native grids.
        exclude: Lists of patches to leave out, as published with BigEarthNet.
        no_cloud: Leave out patches that the product's scene classification shows under cloud.
        no_shadow: Likewise under the shadow of a cloud.
        no_snow: Likewise under snow.
        limit: Share of a patch that each of these may cover.
        skip_misfits: Leave out patches that lie off the product's pixels or across its edge.
        workers: Processes that cut; the processor's cores without.
        offset: See `open`.
        overwrite: Replace an existing output, or an unfinished run of other settings.
        progress: Called with patches done, all patches, and patches done by this run.

    Returns:
        How many patches the store holds, and how many were left out for which reason.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    from decametre.patches.crew import available_cores
    from decametre.patches.extraction import extract
    from decametre.patches.extraction_plan import Request

    models = [model] if isinstance(model, str) else list(model)
    given = [products] if isinstance(products, str | os.PathLike) else list(products)
    screened = {"cloud": no_cloud, "shadow": no_shadow, "snow": no_snow}
    request = Request(
        products=tuple(located(path) for path in given),
        patches=None if patches is None else located(patches),
        stride=stride,
        label_column=label_column,
        labels=None if labels is None else located(labels),
        label_names=None if label_names is None else located(label_names),
        label_share=label_share,
        classes=classes,
        sharpened=tuple(located(path) for path in sharpened),
        sharpen=sharpen,
        models=tuple(models),
        native=native,
        exclude=tuple(located(path) for path in exclude),
        screen=tuple(kind for kind, wanted in screened.items() if wanted),
        limit=limit,
        skip_misfits=skip_misfits,
        offset=offset,
    )
    return extract(
        request,
        Path(output),
        workers or available_cores(),
        sharpener(models, device),
        overwrite=overwrite,
        progress=progress,
    )


def label_product(
    product: Product | PathLike,
    output: PathLike,
    *,
    offset: str | float = "auto",
    overwrite: bool = False,
    progress: Progress = lambda done, total, pixels: None,
) -> dict[str, float]:
    """Give every pixel of a product a class by spectral rules, for `extract_patches(labels=...)`.

    Args:
        product: An opened product, or what `open` takes.
        output: The GeoTIFF to make.
        offset: See `open`.
        overwrite: Replace an existing output.
        progress: Called with windows done, all windows, and pixels done.

    Returns:
        By class, its share of the measured pixels.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    from decametre.patches.labelling import label_product

    opened = product if isinstance(product, Product) else open(product, offset)
    return label_product(opened, Path(output), overwrite=overwrite, progress=progress)


def sharpener(models: Sequence[str], device: str) -> Callable[[Product, Path, Window], Result]:
    """`sharpen` with its settings, for a window of any product."""
    return lambda product, output, window: sharpen(
        product, output, window=window, model=models, device=device
    )


def plan_patches(
    patches: PathLike, *, workers: int, exclude: Sequence[PathLike] = ()
) -> list[Plan]:
    """How the patches of a list would be spread over workers, by every method, the best first.

    Args:
        patches: As in `extract_patches`; a list that says of which product each patch is.
        workers: How many there are.
        exclude: Lists of patches to leave out.

    Raises:
        PatchError: The list cannot be read, or does not say of which products its patches are.
    """
    from decametre.patches.plan import plans
    from decametre.patches.screening import read_exclusions
    from decametre.patches.wanted import read_patch_list

    excluded = read_exclusions(Path(path) for path in exclude)
    return plans(read_patch_list(Path(patches)).counts(excluded), workers)


def located(path: PathLike) -> str:
    """A path that holds whatever the working directory; a URL as it is."""
    text = os.fspath(path)
    return text if "://" in text else str(Path(text).absolute())


def merge_patches(
    shards: Sequence[PathLike],
    output: PathLike,
    *,
    consolidate: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total, count: None,
) -> int:
    """Present stores of patches as one.

    Args:
        shards: Stores with the same images, classes and model, and without a patch in common.
        output: The HDF5 file to make. It refers to the shards by their place relative to its own.
        consolidate: Copy all pixels instead; a killed run then goes on where it was.
        overwrite: Replace an existing output.
        progress: Called with patches copied, all patches, and patches copied by this run.

    Returns:
        The number of patches.

    Raises:
        PatchError: The shards do not fit one another, or share a patch.
        OutputError: The output cannot be written.
    """
    from decametre.patches import merge

    return merge.merge_patches(
        [Path(path) for path in shards],
        Path(output),
        consolidate=consolidate,
        overwrite=overwrite,
        progress=progress,
    )


def evaluate_land_cover(
    store: PathLike,
    model: PathLike | Sequence[PathLike],
    *,
    split: str = "test",
    thresholds: str = "card",
    tune_on: PathLike | None = None,
    keep_thresholds: bool = False,
    device: str = "auto",
    out: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress = lambda done, total, patches: None,
) -> LandCoverEvaluation:
    """Score land-cover models on a split of a store of patches; docs/landcover.md defines all.

    Under torchrun or srun, all processes of the job classify, and the first alone writes.

    Args:
        store: The store.
        model: Folders of models.
        split: `train`, `validation`, `test`, or `all`. A store without splits is taken whole.
        thresholds: `card`: those that the model's card holds, 0.5 where it holds none. `fixed`:
            0.5. Or tuned on a validation split, `global` or `per_class`.
        tune_on: The store whose validation split they are tuned on; `store` without.
        keep_thresholds: Write tuned thresholds into the models' cards.
        device: `auto` (a GPU, else the processor), `cpu`, `cuda` or `cuda:N`.
        out: A folder to make, with `scores.json`, `scores.csv`, `scores.md` and `figures/`.
        overwrite: Replace an earlier evaluation in `out`.
        progress: Called with patches classified, all patches, and patches classified, of this
            process.

    Returns:
        All scores; `decametre.evaluation.multilabel_tables` shows them.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    from decametre.evaluation.land_cover import Request
    from decametre.evaluation.land_cover import evaluate as evaluate_models

    given = [model] if isinstance(model, str | os.PathLike) else list(model)
    words = ["decametre", "landcover", "evaluate", os.fspath(store)]
    for folder in given:
        words += ["--model", os.fspath(folder)]
    words += ["--split", split, "--thresholds", thresholds]
    if tune_on is not None:
        words += ["--tune-on", os.fspath(tune_on)]
    if out is not None:
        words += ["--out", os.fspath(out)]
    request = Request(
        store=Path(store),
        models=[Path(folder) for folder in given],
        labels=unique(Path(folder).absolute().name for folder in given),
        split=split,
        thresholds=thresholds,
        tune_on=Path(store if tune_on is None else tune_on),
        keep_thresholds=keep_thresholds,
        out=None if out is None else Path(out),
        overwrite=overwrite,
        command=shlex.join(words),
    )
    return evaluate_models(request, device, progress)


def predict_land_cover(
    product: Product | PathLike,
    output: PathLike,
    model: PathLike,
    *,
    stride: int = 1200,
    window: Window | tuple[int, int, int, int] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    offset: str | float = "auto",
    sharpened: PathLike | None = None,
    sharpen_with: str | Sequence[str] = (),
    least_data: float = 0.9,
    encoding: str = "probability",
    geojson: bool = True,
    device: str = "auto",
    precision: str = "auto",
    overwrite: bool = False,
    progress: Progress = lambda done, total, patches: None,
) -> LandCoverMap:
    """Map the land cover of a product: the probability of every class, patch by patch.

    Writes a Cloud-Optimized GeoTIFF with a band a class, and beside it `NAME.classes.tif`, the most
    probable class with a colour table, `NAME.geojson`, the patches, and a STAC item `NAME.json`.

    Args:
        product: An open product, or what `open` takes.
        output: The GeoTIFF.
        model: Folder of a land-cover model.
        stride: From one patch of 1200 m to the next, in metres: 1200, or less and a multiple of 60
            for patches that overlap. A pixel of the map is as large as the stride.
        window: As in `sharpen`; the patches are counted from its first pixel.
        bbox: Likewise.
        offset: See `open`; only where `product` is not open yet.
        sharpened: A result of `sharpen` of all bands in DN, for a model that sees such.
        sharpen_with: Models, families or folders that sharpen on the way, for such a model; those
            that sharpened its training images without.
        least_data: Share of a patch that must have data for it to be classified.
        encoding: `probability`: float32 with NaN as nodata. `percent`: uint8 with 255.
        geojson: Also write the patches as GeoJSON.
        device: As in `sharpen`; of several GPUs the first.
        precision: As in `sharpen`, for what sharpens on the way. The rest is float32.
        overwrite: Replace an existing output.
        progress: Called with the patches done, all patches, and the patches done.

    Returns:
        The paths written, and the number of patches.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    from decametre.inference import land_cover_map
    from decametre.io.sharpened import open_sharpened
    from decametre.models.land_cover_model import load_land_cover

    if not isinstance(product, Product):
        product = open(product, offset)
    log.info("offset: %s", product.offset_reason)
    options = land_cover_map.Options(
        stride=stride,
        least_data=least_data,
        encoding=encoding,
        sharpen_with=[sharpen_with] if isinstance(sharpen_with, str) else list(sharpen_with),
        device=device,
        precision=precision,
        geojson=geojson,
        overwrite=overwrite,
    )
    return land_cover_map.run(
        product,
        Path(output),
        load_land_cover(Path(model)),
        choose_window(product, window, bbox),
        None if sharpened is None else open_sharpened(Path(sharpened)),
        options,
        progress,
    )


def choose_window(
    product: Product,
    window: Window | tuple[int, int, int, int] | None,
    bbox: tuple[float, float, float, float] | None,
) -> Window:
    """The part of a product that was asked for, snapped outward to whole pixels of 60 m.

    Raises:
        GridError: Both a window and a bbox were given, or it is empty or outside the product.
    """
    if window is not None and bbox is not None:
        raise GridError("give a window or a bbox, not both")
    if bbox is not None:
        west, south, east, north = bbox
        if not (west < east and south < north):
            raise GridError(
                f"bbox {west},{south},{east},{north} is empty; give WEST,SOUTH,EAST,NORTH in "
                "degrees"
            )
        bounds = transform_bounds("EPSG:4326", product.grid.crs, *bbox)
        asked = product.grid.window_of_bounds(bounds).intersection(product.grid.window)
        if not asked.width or not asked.height:
            raise GridError(
                f"bbox {west},{south},{east},{north} is outside the product, which covers "
                f"{','.join(f'{v:.4f}' for v in lonlat_bounds(product))}"
            )
    elif window is not None:
        asked = window if isinstance(window, Window) else Window(*window)
    else:
        return product.grid.window
    snapped = product.grid.checked_window(asked, COARSEST)
    if snapped != asked:
        log.info("window %s snapped outward to %s (whole pixels of 60 m)", asked, snapped)
    return snapped


def lonlat_bounds(product: Product) -> tuple[float, float, float, float]:
    """West, south, east, north of a product in degrees."""
    west, south, east, north = transform_bounds(product.grid.crs, "EPSG:4326", *product.grid.bounds)
    return west, south, east, north
