"""Options of the fleet verbs."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from decametre.options import FilePath, LocatedPath, Options, Text


def _stage_seconds(text: str) -> tuple[str, float]:
    stage, _, number = text.partition("=")
    try:
        seconds = float(number)
    except ValueError:
        seconds = 0.0
    if not (stage and 0 < seconds < float("inf")):
        raise ValueError(f"'{text}' is not STAGE=SECONDS, such as compute=240")
    return stage, seconds


class FleetTiles(Options):
    """Sharpened images for a fleet that extracts patches."""

    sharpened: Annotated[LocatedPath | None, Text(metavar="FOLDER")] = None
    """Output folder of `decametre fleet sharpen` for the same products; its images are stored as
    data_super."""


class FleetReportOptions(Options):
    """Where the report of a fleet is written."""

    output: Annotated[FilePath | None, Text(metavar="FILE.html", default="report.html in OUT")] = (
        None
    )
    """Path of the page."""


class FleetPlanOptions(Options):
    """Times from which the size of a fleet is planned."""

    measured: Annotated[FilePath | None, Text(metavar="OUT")] = None
    """Output folder of a fleet, whose times are used."""
    seconds: Annotated[
        dict[str, float], Text(metavar="STAGE=SECONDS", parse=_stage_seconds, unique=True)
    ] = {}  # noqa: RUF012  # frozen, and pydantic copies it
    """In place of `measured`: time of a full product in one stage of one worker."""
    threads: Annotated[int | None, Field(ge=1), Text(default="1")] = None
    """With `seconds`: CPU threads of that worker."""
    gpus: Annotated[int | None, Field(ge=0), Text(default="0")] = None
    """With `seconds`: GPUs of that worker."""
    input_gb: Annotated[float | None, Field(gt=0), Text(default="as measured")] = None
    """GB read for a full product."""
    output_gb: Annotated[float | None, Field(gt=0), Text(default="as measured")] = None
    """GB written for a full product."""
    utilisation: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the day in which workers process products, without the time in queues, faults and
    pauses."""


class FleetOptions(Options):
    """The workers of a fleet, and how they process the products."""

    workers: Annotated[
        int | None,
        Field(ge=1),
        Text(default="one per GPU, or one per 4 cores as far as memory allows"),
    ] = None
    """Workers on this machine."""
    cluster: Annotated[FilePath | None, Text(metavar="FILE.yaml")] = None
    """Run the workers in jobs of SLURM, PBS or another batch system, as described in this file;
    `decametre examples` has templates."""
    scheduler: Annotated[str | None, Text(metavar="tcp://HOST:PORT")] = None
    """Use the workers of a dask scheduler that is running already."""
    redo: bool = False
    """Recompute results made with another version, model or settings, which are an error by
    default."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Further attempts after a product failed, each on another worker. What is not a product, or
    lacks a file, is not retried."""
    stage_to: Annotated[LocatedPath | None, Text(metavar="FOLDER")] = None
    """Copy each product to this folder of the worker before it is processed, and remove the copy
    afterwards; for input on slow storage. `fleet extract` copies nothing."""
    interval: Annotated[float, Field(ge=1), Text(metavar="SECONDS")] = 30.0
    """Time between two lines of OUT/fleet.log."""

    @model_validator(mode="after")
    def _one_kind_of_workers(self) -> Self:
        if sum(each is not None for each in (self.workers, self.cluster, self.scheduler)) > 1:
            raise ValueError("give `workers`, `cluster` or `scheduler`, one of the three")
        return self
