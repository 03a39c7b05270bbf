"""Read the file behind `--cluster FILE.yaml`: batch system, number of workers, options of a job.

The options are those of dask-jobqueue, and are passed on unchanged. All mistakes are found before a
job is submitted: an error names the key and, if it is unknown, the nearest one that the installed
dask-jobqueue accepts.

Each job runs one worker. dask-jobqueue can run several in a job (`processes`), but would not
replace them when the job ends, because their names differ from the job's.
"""

from __future__ import annotations

import importlib
import inspect
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from decametre.errors import FleetError, UnknownNameError
from decametre.fleet.preload import PRELOAD, SLOT
from decametre.yaml_text import parse_yaml

JOB_NAME = "decametre-fleet"

CLOSING_SHARE, CLOSING_MOST = 1 / 20, 300
"""A worker ends this share of the walltime before its job does, but at most so many seconds. The
start of the job counts as well: the lifetime of a worker begins when Python has been loaded."""

MEMORY_SHARE, MEMORY_MOST = 1 / 10, 2**30
"""A job reserves this share of its memory for the process that watches its worker, but at most so
many bytes: dask limits the memory of the worker, a batch system that of both processes."""

KEY_HINTS = {
    "partition": "dask-jobqueue calls it queue",
    "time": "dask-jobqueue calls it walltime",
    "job_extra": "dask-jobqueue calls it job_extra_directives now",
    "env_extra": "dask-jobqueue calls it job_script_prologue now",
    "extra": "dask-jobqueue calls it worker_extra_args now",
    "header_skip": "dask-jobqueue calls it job_directives_skip now",
    "gres": "write it as a line of job_extra_directives, such as --gres=gpu:1",
    "gpus": "write them as a line of job_extra_directives, such as --gres=gpu:1",
    "n_workers": "set workers, next to options",
    "processes": "each job runs one worker; request less per job, and raise workers",
}
"""Advice for common wrong keys, where the nearest spelling would mislead."""

RESERVED = {
    *("self", "scheduler", "name", "job_cls", "loop", "asynchronous", "silence_logs"),
    *("scheduler_cls", "host", "dashboard_address", "worker_command"),
}
"""Parameters of dask-jobqueue that a fleet sets itself, or that must go into scheduler_options."""


@dataclass(frozen=True)
class System:
    """A batch system.

    Attributes:
        cluster_class: Its class in dask-jobqueue.
        units: Seconds of each part of a walltime, by the number of parts; empty if jobs have none.
        example: A walltime.
        required: Options that a file must have, in addition to cores and memory.
    """

    cluster_class: str
    units: dict[int, tuple[int, ...]] = field(
        default_factory=lambda: {1: (1,), 2: (60, 1), 3: (3600, 60, 1)}
    )
    example: str = "'04:00:00'"
    required: tuple[str, ...] = ("walltime",)


SYSTEMS = {
    "slurm": System("SLURMCluster", {1: (60,), 2: (60, 1), 3: (3600, 60, 1)}),
    "pbs": System("PBSCluster"),
    "sge": System("SGECluster"),
    "lsf": System("LSFCluster", {1: (60,), 2: (3600, 60)}, "'04:00'"),
    "oar": System("OARCluster", {1: (3600,), 2: (3600, 60), 3: (3600, 60, 1)}),
    "htcondor": System("HTCondorCluster", {}, required=("disk",)),
}
"""The values of `system`."""

_BYTES = TypeAdapter(ByteSize)


def bytes_of(memory: str) -> int:
    """The bytes that dask reads in `64GiB`, `64Gi`, `64G` or `64 gb`."""
    return _BYTES.validate_python(memory.strip().rstrip("bB") + "B")


def _check_positive(memory: str) -> str:
    if bytes_of(memory) < 1:
        raise PydanticCustomError("memory", "Input should be above zero, such as 64GiB")
    return memory


Memory = Annotated[
    str,
    Field(pattern=r"^\s*\d+(\.\d+)?\s*([kKmMgGtTpP][iI]?)[bB]?\s*$"),
    AfterValidator(_check_positive),
]


class Workers(BaseModel):
    """How many workers there are; the products left decide within the limits.

    Attributes:
        minimum: Lowest number of workers.
        maximum: Highest number of workers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    minimum: Annotated[int, Field(ge=0)]
    maximum: Annotated[int, Field(ge=1)]

    @model_validator(mode="before")
    @classmethod
    def _accept_one_number(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"minimum": value, "maximum": value}
        if not isinstance(value, dict):
            raise PydanticCustomError(
                "workers", "Input should be a whole number, or {minimum: 0, maximum: 64}"
            )
        return value

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.maximum < self.minimum:
            raise PydanticCustomError("workers", "maximum should not be below minimum")
        return self


class Options(BaseModel):
    """Options of dask-jobqueue. Those whose values this package uses or checks are declared here.

    Attributes:
        cores: Cores of a job, and threads of its worker.
        memory: Memory of a job, such as `64GiB`. Its worker gets a little less.
        walltime: As the batch system writes it, in quotes.
        disk: Disk space of a job; HTCondor only.
        job_extra_directives: Lines for the head of the job script, such as `--gres=gpu:1`.
        job_script_prologue: Commands before the worker starts, such as `module load cuda`.
        worker_extra_args: Arguments of `dask worker`; they come last and override ours.
        security: True, the default, encrypts the traffic, with certificates created for the run;
            null does not.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    cores: Annotated[int, Field(ge=1)]
    memory: Memory
    walltime: str | None = None
    disk: Memory | None = None
    job_name: str = JOB_NAME
    job_extra_directives: list[str] | dict[str, Any] = Field(default_factory=list)
    job_script_prologue: list[str] = Field(default_factory=list)
    job_directives_skip: list[str] = Field(default_factory=list)
    worker_extra_args: list[str] = Field(default_factory=list)
    security: Literal[True] | None = None

    @field_validator("memory", "disk", mode="before")
    @classmethod
    def _require_unit(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise PydanticCustomError("memory", "Input should have a unit, such as 64GiB")
        return value

    @field_validator("walltime", mode="before")
    @classmethod
    def _require_quotes(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            # 12:00:00 is a base-60 number in YAML 1.1; SLURM would read 43200 as minutes.
            raise PydanticCustomError(
                "walltime", "Input should be in quotes, or YAML reads a number"
            )
        return value


class ClusterFile(BaseModel):
    """A batch system and the jobs to submit.

    Attributes:
        system: Name of the batch system.
        workers: Number of workers; each is a job.
        side_by_side: Products that a worker processes at a time; None leaves it to `preload`.
        options: Options of dask-jobqueue.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    system: str
    workers: Workers
    side_by_side: Annotated[int, Field(ge=1)] | None = None
    options: Options

    @property
    def walltime_seconds(self) -> int | None:
        """The walltime of a job; None if jobs have none, 0 if the text is not a valid time."""
        units, walltime = SYSTEMS[self.system].units, self.options.walltime
        if walltime is None or not units:
            return None
        days, dash, rest = walltime.rpartition("-")
        parts = rest.split(":")
        if dash and self.system == "slurm":  # days-hours:minutes:seconds
            parts.insert(0, days)
            units = {number: (86400, 3600, 60, 1)[:number] for number in (2, 3, 4)}
        elif dash:
            return 0
        if len(parts) not in units or not all(part.isdecimal() for part in parts):
            return 0
        return sum(int(part) * unit for part, unit in zip(parts, units[len(parts)], strict=True))


def cluster_class(file: ClusterFile) -> Any:
    """The class of dask-jobqueue for a batch system.

    dask_jobqueue replaces signal handlers when it is imported; they are restored.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    jobqueue = importlib.import_module("dask_jobqueue")
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    return getattr(jobqueue, SYSTEMS[file.system].cluster_class)


def option_names(kind: Any) -> set[str]:
    """Names of the options that a class of the installed dask-jobqueue accepts."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        parameter.name
        for each in (*kind.__mro__, *kind.job_cls.__mro__)
        if each.__module__.startswith("dask_jobqueue")
        for parameter in inspect.signature(each.__init__).parameters.values()
        if parameter.kind in named
    } - (RESERVED | KEY_HINTS.keys())


def read_cluster_file(path: Path) -> ClusterFile:
    """Read and check a cluster file.

    Raises:
        FleetError: The file cannot be read, or a value is missing or wrong.
        UnknownNameError: The system or a key is unknown; names the nearest.
    """
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FleetError(
            f"{path}: no such file; `decametre examples OUT` copies templates"
        ) from error
    except (OSError, ValueError) as error:
        raise FleetError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(tree, dict):
        raise FleetError(f"{path}: a cluster file maps keys to values, but this is {tree!r:.40}")
    if "system" not in tree:
        *most, last = SYSTEMS
        raise FleetError(f"{path}: system is missing; choose {', '.join(most)} or {last}")
    if str(tree["system"]) not in SYSTEMS:
        raise UnknownNameError(f"system in {path}", str(tree["system"]), SYSTEMS)
    try:
        file = ClusterFile.model_validate(tree)
    except ValidationError as error:
        raise _first_error(path, error) from error
    _check_options(path, file)
    return file


def _check_options(path: Path, file: ClusterFile) -> None:
    """Check what depends on the batch system and on the installed dask-jobqueue."""
    system, given = SYSTEMS[file.system], file.options.model_fields_set
    names = option_names(cluster_class(file))
    for key in sorted(given - names):
        raise _unknown_key(path, ["options", key], names)
    for key in system.required:
        if key not in given:
            raise FleetError(f"{path}: options.{key}: Field required")
    if file.walltime_seconds == 0:
        raise FleetError(
            f"{path}: options.walltime: Input should be a time as the system writes it, such as "
            f"{system.example}, not {file.options.walltime!r}"
        )


def _unknown_key(path: Path, place: list[str], known: Any) -> FleetError | UnknownNameError:
    *section, key = place
    kind = f"key in {'.'.join(section)} of {path}" if section else f"key in {path}"
    if key in KEY_HINTS:
        return FleetError(f"unknown {kind}: '{key}'; {KEY_HINTS[key]}")
    return UnknownNameError(kind, key, known)


def _first_error(path: Path, error: ValidationError) -> FleetError | UnknownNameError:
    """The first mistake; the next run shows the next one."""
    fault = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    place = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        part = Workers if place[0] == "workers" and len(place) > 1 else ClusterFile
        return _unknown_key(path, place, part.model_fields)
    message = fault["msg"]
    if fault["type"] == "string_pattern_mismatch":
        message = "Input should be a number with a unit, such as 64GiB"
    elif fault["type"] == "model_type":
        message = "Input should be a mapping of keys to values"
    if fault["type"] != "missing":
        message += ", not nothing" if fault["input"] is None else f", not {fault['input']!r:.60}"
    return FleetError(f"{path}: {'.'.join(place)}: {message}")


def job_options(file: ClusterFile) -> dict[str, Any]:
    """The arguments for the class of dask-jobqueue.

    Workers load `decametre.fleet.preload`. If jobs have a walltime, a worker ends before its job
    does, and dask runs its products on other workers without counting that as a failure. The times
    are varied, so that workers that started together do not end together.
    """
    options = file.options
    ours = ["--preload", PRELOAD]
    if file.side_by_side is not None:
        ours += ["--resources", f"{SLOT}={file.side_by_side}"]
    if not _has_argument(options, "--memory-limit"):
        memory = bytes_of(options.memory)
        ours += ["--memory-limit", f"{memory - min(MEMORY_SHARE * memory, MEMORY_MOST):.0f}B"]
    walltime = file.walltime_seconds
    if walltime is not None and not _has_argument(options, "--lifetime"):
        closing = int(min(CLOSING_SHARE * walltime, CLOSING_MOST))
        ours += ["--lifetime", f"{walltime - 2 * closing}s", "--lifetime-stagger", f"{closing}s"]
    return {
        **options.model_dump(exclude_unset=True),
        "job_name": options.job_name,
        "processes": 1,
        "worker_extra_args": [*ours, *options.worker_extra_args],
    }


def _has_argument(options: Options, name: str) -> bool:
    """Whether the file sets an argument of `dask worker`, or one whose name begins with it."""
    return any(argument.startswith(name) for argument in options.worker_extra_args)
