"""The same jobs over many products, on many workers."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import current_process, parent_process
from pathlib import Path

from decametre.api.arguments import PathLike, located
from decametre.api.extraction import patch_request
from decametre.choices import DEFAULT_TILE
from decametre.errors import FleetError
from decametre.fleet import run as fleet_run
from decametre.fleet.cluster_file import read_cluster_file
from decametre.fleet.engine import job_crew, joined_crew, local_crew, machine
from decametre.fleet.inputs.product_entry import FOLDER, Entry
from decametre.fleet.inputs.product_list import read_listing
from decametre.fleet.jobs import Extract, Predict, Sharpen, Work
from decametre.fleet.local_workers import local_workers
from decametre.fleet.progress import Progress
from decametre.fleet.run import FleetResult, Gather, Notify
from decametre.landcover.mapping import mapping_job
from decametre.sentinel2.bands import BAND_NAMES, parse_bands
from decametre.superres.sharpening import sharpening_job


@dataclass(frozen=True)
class FleetOptions:
    """How a fleet goes about its work, whatever that is.

    Attributes:
        workers: Workers on this machine; what suits it without.
        cluster: A file that describes a cluster of dask-jobqueue, in place of this machine.
        scheduler: Address of a scheduler of dask whose workers are to be used instead.
        redo: Make results of other settings, versions or products again; they are refused without.
        retries: Attempts that may follow a first one that failed.
        stage_to: Folder of a fast disk, on every worker, for copies of the input.
        interval: Seconds between two lines of `fleet.log`.
    """

    workers: int | None = None
    cluster: PathLike | None = None
    scheduler: str | None = None
    redo: bool = False
    retries: int = 2
    stage_to: PathLike | None = None
    interval: float = 30.0


def _unwatched(progress: Progress) -> None:
    """Nobody looks."""


def fleet_sharpen(
    products: PathLike | Sequence[Entry],
    out: PathLike,
    *,
    bands: Sequence[str] = BAND_NAMES,
    model: str | Sequence[str] = (),
    offset: str | float = "auto",
    device: str = "auto",
    precision: str = "auto",
    consistent: bool = False,
    encoding: str = "dn",
    compression: str = "deflate",
    quicklook: bool = False,
    tile: int = DEFAULT_TILE,
    options: FleetOptions | None = None,
    notify: Notify = _unwatched,
) -> FleetResult:
    """Sharpen many products, each into a folder of its own in `out`; docs/fleet.md says all.

    What is done already is left out, so that the same call goes on with an interrupted run.

    Args:
        products: A text or CSV file that lists products, a folder of them, a STAC ItemCollection
            or catalog; or the entries themselves.
        out: The folder of results.
        bands: As in `sharpen`, as all that follow up to `tile`.
        model: Folders must be where all workers see them.
        offset: See `sharpen`.
        device: `auto`, `cpu` or `cuda`.
        precision: See `sharpen`.
        consistent: See `sharpen`.
        encoding: See `sharpen`.
        compression: See `sharpen`.
        quicklook: See `sharpen`.
        tile: See `sharpen`.
        options: On which workers, and how.
        notify: Called with the progress after every event.

    Returns:
        How many were done, and which failed: those do not raise.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    work = Sharpen(
        bands=tuple(parse_bands(bands)),
        models=_anywhere(model),
        offset=offset,
        options=sharpening_job.Options(
            device=device,
            precision=precision,
            consistent=consistent,
            encoding=encoding,
            compression=compression,
            quicklook=quicklook,
            tile=tile,
        ),
    )
    return _run(work, products, Path(out), device, options or FleetOptions(), notify)


def fleet_extract(
    products: PathLike | Sequence[Entry],
    out: PathLike,
    *,
    patches: PathLike | None = None,
    stride: int = 1200,
    label_column: str = "labels",
    labels: PathLike | None = None,
    label_names: PathLike | None = None,
    label_share: float = 0.0,
    classes: int | None = None,
    sharpened: PathLike | None = None,
    native: bool = True,
    exclude: Sequence[PathLike] = (),
    no_cloud: bool = False,
    no_shadow: bool = False,
    no_snow: bool = False,
    limit: float = 0.05,
    skip_misfits: bool = False,
    offset: str | float = "auto",
    options: FleetOptions | None = None,
    notify: Notify = _unwatched,
) -> FleetResult:
    """Cut patches from many products, a store each; `merge_patches` presents them as one.

    Args:
        products: As in `fleet_sharpen`.
        out: The folder of results.
        patches: As in `extract_patches`, as all that follow up to `offset`, but for `sharpened`.
        stride: See `extract_patches`.
        label_column: See `extract_patches`.
        labels: See `extract_patches`.
        label_names: See `extract_patches`.
        label_share: See `extract_patches`.
        classes: See `extract_patches`.
        sharpened: The folder of results of `fleet_sharpen` of the same list, for `data_super`.
        native: See `extract_patches`.
        exclude: See `extract_patches`.
        no_cloud: See `extract_patches`.
        no_shadow: See `extract_patches`.
        no_snow: See `extract_patches`.
        limit: See `extract_patches`.
        skip_misfits: See `extract_patches`.
        offset: See `sharpen`.
        options: On which workers, and how.
        notify: Called with the progress after every event.

    Returns:
        As `fleet_sharpen`.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    request = patch_request(
        (),
        patches=patches,
        stride=stride,
        label_column=label_column,
        labels=labels,
        label_names=label_names,
        label_share=label_share,
        classes=classes,
        sharpened=(),
        sharpen=False,
        models=(),
        native=native,
        exclude=exclude,
        no_cloud=no_cloud,
        no_shadow=no_shadow,
        no_snow=no_snow,
        limit=limit,
        skip_misfits=skip_misfits,
        offset=offset,
    )
    work = Extract(request, None if sharpened is None else str(Path(sharpened).absolute()))
    return _run(work, products, Path(out), "cpu", options or FleetOptions(), notify)


def fleet_predict(
    products: PathLike | Sequence[Entry],
    out: PathLike,
    model: PathLike,
    *,
    stride: int = 1200,
    offset: str | float = "auto",
    sharpen_with: str | Sequence[str] = (),
    least_data: float = 0.9,
    encoding: str = "probability",
    geojson: bool = True,
    device: str = "auto",
    precision: str = "auto",
    options: FleetOptions | None = None,
    notify: Notify = _unwatched,
) -> FleetResult:
    """Map the land cover of many products.

    Args:
        products: As in `fleet_sharpen`.
        out: The folder of results.
        model: Folder of a land-cover model, where all workers see it.
        stride: As in `predict_land_cover`, as all that follow up to `precision`.
        offset: See `sharpen`.
        sharpen_with: See `predict_land_cover`.
        least_data: See `predict_land_cover`.
        encoding: See `predict_land_cover`.
        geojson: See `predict_land_cover`.
        device: `auto`, `cpu` or `cuda`.
        precision: See `predict_land_cover`.
        options: On which workers, and how.
        notify: Called with the progress after every event.

    Returns:
        As `fleet_sharpen`.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    work = Predict(
        model=str(Path(model).absolute()),
        offset=offset,
        options=mapping_job.Options(
            stride=stride,
            least_data=least_data,
            encoding=encoding,
            sharpen_with=_anywhere(sharpen_with),
            device=device,
            precision=precision,
            geojson=geojson,
        ),
    )
    return _run(work, products, Path(out), device, options or FleetOptions(), notify)


def _anywhere(models: str | Sequence[str]) -> tuple[str, ...]:
    """Names of models, folders by a path that holds whatever a worker's working directory."""
    names = [models] if isinstance(models, str) else models
    return tuple(located(name) if Path(name).is_dir() else name for name in names)


def _run(
    work: Work,
    products: PathLike | Sequence[Entry],
    out: Path,
    device: str,
    options: FleetOptions,
    notify: Notify,
) -> FleetResult:
    """Have a kind of work done for all products."""
    _refuse_to_begin_in_a_worker()
    out = out.absolute()  # workers have other working directories
    if isinstance(products, str | os.PathLike):
        products = read_listing(os.fspath(products), out / FOLDER / "items")
    entries = [replace(entry, source=located(entry.source)) for entry in products]
    if not entries:
        raise FleetError("no product to do")
    names = Counter(entry.name for entry in entries)
    for name, count in names.items():
        if count > 1 or Path(name).name != name:
            raise FleetError(
                f"{count} entries are called '{name}'; each needs a name of its own, for a folder"
            )
    plan = fleet_run.Plan(
        work=work,
        entries=entries,
        out=out,
        redo=options.redo,
        retries=options.retries,
        scratch=None if options.stage_to is None else Path(options.stage_to).absolute(),
        interval=options.interval,
        command=shlex.join(["decametre", *sys.argv[1:]]),
    )
    memory = max(work.memory(entry.size) for entry in entries)
    return fleet_run.run(plan, _gather(options, device, memory, out / FOLDER / "logs"), notify)


def _refuse_to_begin_in_a_worker() -> None:
    """Tell the author of a script what its local workers, which read it too, must not come to.

    Raises:
        FleetError: A process that another one starts is reading its main module.
    """
    if current_process().name != "MainProcess" and parent_process() is None:
        raise FleetError(
            "the workers of a fleet read the script that starts it, and would start fleets of "
            'their own; in the script, call it below `if __name__ == "__main__":`'
        )


def _gather(options: FleetOptions, device: str, memory: int, logs: Path) -> Gather:
    """What brings the workers together that were asked for."""
    asked = (options.workers, options.cluster, options.scheduler)
    if sum(each is not None for each in asked) > 1:
        raise FleetError("give --workers, --cluster or --scheduler, one of the three")
    if options.cluster is not None:
        file = read_cluster_file(Path(options.cluster))
        return lambda left: job_crew(file, logs, left)
    if options.scheduler is not None:
        address = options.scheduler
        return lambda left: joined_crew(address, left)
    if options.stage_to is not None and not Path(options.stage_to).is_dir():
        raise FleetError(f"--stage-to {options.stage_to}: no such folder; make it first")
    specs, described = local_workers(options.workers, device, memory, *machine())
    return lambda left: local_crew(specs, described, left)
