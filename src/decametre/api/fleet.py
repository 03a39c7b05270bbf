"""The same jobs over many products, on many workers."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import current_process, parent_process
from pathlib import Path

from decametre.api.keywords import takes
from decametre.errors import FleetError
from decametre.fleet import run as fleet_run
from decametre.fleet.cluster_file import read_cluster_file
from decametre.fleet.config import FleetConfig
from decametre.fleet.inputs.product_entry import FOLDER, ProductEntry
from decametre.fleet.inputs.product_list import read_listing
from decametre.fleet.job_pool import job_pool
from decametre.fleet.jobs import Extract, Predict, Sharpen, Work
from decametre.fleet.local_workers import local_workers
from decametre.fleet.options import FleetOptions
from decametre.fleet.progress import ProgressCallback, RunProgress
from decametre.fleet.run import FleetResult, OpenPool
from decametre.fleet.worker_pools import local_pool, machine, scheduler_pool
from decametre.landcover.extraction.options import ExtractOptions
from decametre.landcover.mapping.options import PredictOptions
from decametre.options import PathLike, located
from decametre.superres.sharpening.options import SharpenOptions


def _ignore_progress(progress: RunProgress) -> None:
    """Do nothing."""


@takes(SharpenOptions, exclude=SharpenOptions.single_job, into="job")
def fleet_sharpen(
    products: PathLike | Sequence[ProductEntry],
    out: PathLike,
    job: SharpenOptions,
    *,
    options: FleetOptions | None = None,
    notify: ProgressCallback = _ignore_progress,
) -> FleetResult:
    """Sharpen many products, each into its own folder in `out`; see docs/fleet.md.

    Completed products are skipped, so the same call resumes an interrupted run.

    Args:
        products: A text or CSV file that lists products, a folder of them, a STAC ItemCollection
            or catalog; or the entries themselves.
        out: The folder of results.
        options: On which workers, and how.
        notify: Called with the progress after every event.

    Returns:
        How many were completed, and which failed: a failed product raises no error.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    work = Sharpen(job.replaced(model=_anywhere(job.model)))
    return _run(work, products, Path(out), job.device, options, notify)


@takes(ExtractOptions, exclude=ExtractOptions.single_job, into="job")
def fleet_extract(
    products: PathLike | Sequence[ProductEntry],
    out: PathLike,
    job: ExtractOptions,
    *,
    sharpened: PathLike | None = None,
    options: FleetOptions | None = None,
    notify: ProgressCallback = _ignore_progress,
) -> FleetResult:
    """Cut patches from many products into a store each; `merge_patches` combines the stores.

    Args:
        products: As in `fleet_sharpen`.
        out: The folder of results.
        sharpened: The folder of results of `fleet_sharpen` for the same products; stored as
            data_super.
        options: On which workers, and how.
        notify: Called with the progress after every event.

    Returns:
        As `fleet_sharpen`.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    folder = None if sharpened is None else str(Path(sharpened).absolute())
    return _run(Extract(job, folder), products, Path(out), "cpu", options, notify)


@takes(PredictOptions, positional=("model",), exclude=PredictOptions.single_job, into="job")
def fleet_predict(
    products: PathLike | Sequence[ProductEntry],
    out: PathLike,
    job: PredictOptions,
    *,
    options: FleetOptions | None = None,
    notify: ProgressCallback = _ignore_progress,
) -> FleetResult:
    """Map the land cover of many products.

    Args:
        products: As in `fleet_sharpen`.
        out: The folder of results.
        options: On which workers, and how.
        notify: Called with the progress after every event.

    Returns:
        As `fleet_sharpen`.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    job = job.replaced(model=job.model.absolute(), sharpen_with=_anywhere(job.sharpen_with))
    return _run(Predict(job), products, Path(out), job.device, options, notify)


def _anywhere(models: Sequence[str]) -> tuple[str, ...]:
    """Names of models, and absolute paths of model folders: workers have other directories."""
    return tuple(located(name) if Path(name).is_dir() else name for name in models)


def _run(
    work: Work,
    products: PathLike | Sequence[ProductEntry],
    out: Path,
    device: str,
    options: FleetOptions | None,
    notify: ProgressCallback,
) -> FleetResult:
    """Process all products."""
    options = options or FleetOptions()
    _refuse_to_start_in_a_worker()
    out = out.absolute()  # workers have other working directories
    if isinstance(products, str | os.PathLike):
        products = read_listing(os.fspath(products), out / FOLDER / "items")
    entries = [replace(entry, source=located(entry.source)) for entry in products]
    if not entries:
        raise FleetError("the list has no product; give at least one")
    names = Counter(entry.name for entry in entries)
    for name, count in names.items():
        if count > 1 or Path(name).name != name:
            raise FleetError(
                f"{count} entries are called '{name}'; give each another name: that of its folder"
            )
    plan = FleetConfig(
        work=work,
        entries=entries,
        out=out,
        options=options,
        command=shlex.join(["decametre", *sys.argv[1:]]),
    )
    memory = max(work.memory(entry.size) for entry in entries)
    return fleet_run.run(plan, _pool_opener(options, device, memory, out / FOLDER / "logs"), notify)


def _refuse_to_start_in_a_worker() -> None:
    """Refuse a script that starts a fleet when a local worker imports it.

    Raises:
        FleetError: This process was started by another one, and is importing its main module.
    """
    if current_process().name != "MainProcess" and parent_process() is None:
        raise FleetError(
            "the workers of a fleet import the script that starts it, and would start more fleets; "
            'in the script, start the fleet below `if __name__ == "__main__":`'
        )


def _pool_opener(options: FleetOptions, device: str, memory: int, logs: Path) -> OpenPool:
    """Starts or joins the workers that the options describe."""
    if options.cluster is not None:
        file = read_cluster_file(options.cluster)
        return lambda left: job_pool(file, logs, left)
    if options.scheduler is not None:
        address = options.scheduler
        return lambda left: scheduler_pool(address, left)
    if options.stage_to is not None and not options.stage_to.is_dir():
        raise FleetError(f"--stage-to {options.stage_to}: no such folder; make it first")
    specs, description = local_workers(options.workers, device, memory, *machine())
    return lambda left: local_pool(specs, description, left)
