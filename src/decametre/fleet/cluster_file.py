"""The file behind `--cluster FILE.yaml`: a queueing system, how many workers, what a job asks for.

The options are those of dask-jobqueue and are passed on unchanged. They are checked before a job
is submitted: an unknown or missing key, or a value of the wrong type, is an error that names the
place and the nearest valid key. This module does not import dask.

A job is one worker. dask-jobqueue can put several into a job (`processes`), but does not replace
them when the job's time is over, since their names are not the job's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
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

JOB_NAME = "decametre-fleet"

CLOSING_SHARE, CLOSING_MOST = 1 / 20, 300
"""Of its walltime, a job keeps this share free to end in, and at most so many seconds. Its start
takes from them, too: a worker's life begins when Python has been loaded."""

MEMORY_SHARE, MEMORY_MOST = 1 / 10, 2**30
"""Of its memory, a job keeps this share for the process that watches over its worker, and at most
so many bytes: dask ends a worker by the worker's own memory, a queueing system ends a job by that
of both."""

KEY_HINTS = {
    "partition": "dask-jobqueue calls it queue",
    "time": "dask-jobqueue calls it walltime",
    "job_extra": "dask-jobqueue calls it job_extra_directives now",
    "env_extra": "dask-jobqueue calls it job_script_prologue now",
    "extra": "dask-jobqueue calls it worker_extra_args now",
    "gres": "give it as a line of job_extra_directives, such as --gres=gpu:1",
    "gpus": "give them as a line of job_extra_directives, such as --gres=gpu:1",
    "n_workers": "give workers, beside options",
    "processes": "a job is one worker; let a job ask for less, and raise workers",
}
"""What people write, where the nearest spelling would mislead."""

_BYTES = TypeAdapter(ByteSize)


def bytes_of(memory: str) -> int:
    """What dask reads in `64GiB`, `64Gi`, `64G` or `64 gb`."""
    return _BYTES.validate_python(memory.strip().rstrip("bB") + "B")


def _refuse_nothing(memory: str) -> str:
    if bytes_of(memory) < 1:
        raise PydanticCustomError("memory", "Input should be more than nothing, such as 64GiB")
    return memory


Whole = Annotated[int, Field(ge=1)]
Memory = Annotated[
    str,
    Field(pattern=r"^\s*\d+(\.\d+)?\s*([kKmMgGtTpP][iI]?)[bB]?\s*$"),
    AfterValidator(_refuse_nothing),
]


class Part(BaseModel):
    """A part of the file: unknown keys are errors, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Workers(Part):
    """How many workers there are: always as many, or as the work wants.

    Attributes:
        minimum: So many are kept.
        maximum: And no more are asked for.
    """

    minimum: Annotated[int, Field(ge=0)]
    maximum: Whole

    @model_validator(mode="before")
    @classmethod
    def _take_a_number_for_both(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"minimum": value, "maximum": value}
        if not isinstance(value, dict):
            raise PydanticCustomError(
                "workers", "Input should be a whole number, or {minimum: 0, maximum: 64}"
            )
        return value

    @model_validator(mode="after")
    def _refuse_crossed_limits(self) -> Self:
        if self.maximum < self.minimum:
            raise PydanticCustomError("workers", "maximum should be no less than minimum")
        return self


class Options(Part):
    """What all systems have. Unset ones are dask-jobqueue's own, from its configuration.

    Attributes:
        cores: Of a worker: its job asks for them, and it computes with as many threads.
        memory: Of a job, such as `64GiB`. Its worker has a little less, at which dask ends it.
        job_extra_directives: Lines of the script's head, such as `--gres=gpu:1`.
        job_script_prologue: Commands before the worker starts, such as `module load cuda`.
        interface: Of the network between nodes, such as `ib0`.
        local_directory: A folder of the node that a worker writes to.
        worker_extra_args: Of `dask worker`; they come last, so they overrule ours.
        python: By default the one that the fleet is started with.
        scheduler_options: Of the scheduler, which runs where the fleet is started: `port`, `host`,
            `dashboard_address`.
        security: True encrypts what travels, by certificates made for the run.
    """

    cores: Whole
    memory: Memory
    interface: str | None = None
    protocol: str | None = None
    security: Literal[True] | None = None
    nanny: bool | None = None
    death_timeout: float | None = None
    local_directory: str | None = None
    worker_extra_args: list[str] = Field(default_factory=list)
    job_name: str = JOB_NAME
    job_extra_directives: list[str] = Field(default_factory=list)
    job_script_prologue: list[str] = Field(default_factory=list)
    job_directives_skip: list[str] = Field(default_factory=list)
    log_directory: str | None = None
    shebang: str | None = None
    python: str | None = None
    config_name: str | None = None
    scheduler_options: dict[str, Any] = Field(default_factory=dict)
    shared_temp_directory: str | None = None

    @field_validator("memory", mode="before")
    @classmethod
    def _want_a_unit(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise PydanticCustomError("memory", "Input should have a unit, such as 64GiB")
        return value

    def seconds(self) -> int | None:
        """The walltime; None where jobs have none."""
        return None


class TimedOptions(Options):
    """Of a system that ends a job when its time is over.

    Attributes:
        walltime: As the system writes it, and in quotes.
        queue: Or partition.
    """

    walltime: str
    queue: str | None = None

    units: ClassVar[dict[int, tuple[int, ...]]] = {1: (1,), 2: (60, 1), 3: (3600, 60, 1)}
    """Seconds of each part of a walltime, by the number of parts."""
    example: ClassVar[str] = "'04:00:00'"

    @field_validator("walltime", mode="before")
    @classmethod
    def _want_quotes(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            # 12:00:00 is a number of base 60 in YAML 1.1; SLURM would take 43200 for minutes.
            raise PydanticCustomError(
                "walltime", "Input should be in quotes, or YAML reads a number"
            )
        return value

    @field_validator("walltime")
    @classmethod
    def _refuse_what_is_no_time(cls, value: str) -> str:
        if not cls._seconds_of(value):
            raise PydanticCustomError(
                "walltime", f"Input should be a time as the system writes it, such as {cls.example}"
            )
        return value

    def seconds(self) -> int:
        """The walltime."""
        return self._seconds_of(self.walltime)

    @classmethod
    def _seconds_of(cls, walltime: str) -> int:
        """0 where it is no time."""
        parts = walltime.split(":")
        if len(parts) not in cls.units or not all(part.isdecimal() for part in parts):
            return 0
        units = cls.units[len(parts)]
        return sum(int(part) * unit for part, unit in zip(parts, units, strict=True))


class SlurmOptions(TimedOptions):
    """See dask-jobqueue's SLURMCluster."""

    account: str | None = None
    job_cpu: Whole | None = None
    job_mem: str | None = None

    units = {1: (60,), 2: (60, 1), 3: (3600, 60, 1)}

    @classmethod
    def _seconds_of(cls, walltime: str) -> int:
        days, dash, rest = walltime.rpartition("-")
        if not dash:
            return super()._seconds_of(walltime)
        parts = rest.split(":")  # hours come first
        if not days.isdecimal() or len(parts) > 3 or not all(part.isdecimal() for part in parts):
            return 0
        units = (3600, 60, 1)[: len(parts)]
        hours = sum(int(part) * unit for part, unit in zip(parts, units, strict=True))
        return int(days) * 86400 + hours


class PbsOptions(TimedOptions):
    """See dask-jobqueue's PBSCluster."""

    account: str | None = None
    resource_spec: str | None = None


class SgeOptions(TimedOptions):
    """See dask-jobqueue's SGECluster. Cores and memory are asked for by `resource_spec`."""

    project: str | None = None
    resource_spec: str | None = None


class LsfOptions(TimedOptions):
    """See dask-jobqueue's LSFCluster."""

    project: str | None = None
    ncpus: Whole | None = None
    mem: Whole | None = None
    lsf_units: str | None = None
    use_stdin: bool | None = None

    units = {1: (60,), 2: (3600, 60)}
    example = "'04:00'"


class OarOptions(TimedOptions):
    """See dask-jobqueue's OARCluster."""

    project: str | None = None
    resource_spec: str | None = None
    memory_per_core_property_name: str | None = None

    units = {1: (3600,), 2: (3600, 60), 3: (3600, 60, 1)}


class HtcondorOptions(Options):
    """See dask-jobqueue's HTCondorCluster. Jobs have no walltime, and directives have names."""

    disk: Memory
    job_extra_directives: dict[str, Any] = Field(default_factory=dict)  # type: ignore[assignment]
    submit_command_extra: list[str] | None = None
    cancel_command_extra: list[str] | None = None


class ClusterFile(Part):
    """A cluster that jobs are submitted to.

    Attributes:
        system: The queueing system.
        workers: How many; each is a job.
        side_by_side: Products that a worker takes at a time; by default, `preload` says.
        options: Of dask-jobqueue.
        cluster_class: In dask-jobqueue.
    """

    system: str
    workers: Workers
    side_by_side: Whole | None = None
    options: Options

    cluster_class: ClassVar[str]


class SlurmFile(ClusterFile):
    """SLURM."""

    system: Literal["slurm"]
    options: SlurmOptions
    cluster_class = "SLURMCluster"


class PbsFile(ClusterFile):
    """PBS Pro, OpenPBS, Torque."""

    system: Literal["pbs"]
    options: PbsOptions
    cluster_class = "PBSCluster"


class SgeFile(ClusterFile):
    """Grid Engine."""

    system: Literal["sge"]
    options: SgeOptions
    cluster_class = "SGECluster"


class LsfFile(ClusterFile):
    """LSF."""

    system: Literal["lsf"]
    options: LsfOptions
    cluster_class = "LSFCluster"


class OarFile(ClusterFile):
    """OAR."""

    system: Literal["oar"]
    options: OarOptions
    cluster_class = "OARCluster"


class HtcondorFile(ClusterFile):
    """HTCondor."""

    system: Literal["htcondor"]
    options: HtcondorOptions
    cluster_class = "HTCondorCluster"


FILES: dict[str, type[ClusterFile]] = {
    "slurm": SlurmFile,
    "pbs": PbsFile,
    "sge": SgeFile,
    "lsf": LsfFile,
    "oar": OarFile,
    "htcondor": HtcondorFile,
}
"""What `system` chooses from."""

_FILE: TypeAdapter[ClusterFile] = TypeAdapter(
    Annotated[
        SlurmFile | PbsFile | SgeFile | LsfFile | OarFile | HtcondorFile,
        Field(discriminator="system"),
    ]
)


class _Loader(yaml.SafeLoader):
    """YAML in which no key of a mapping stands twice: PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _TwiceError(key)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _TwiceError(Exception):
    """A key that stands twice."""

    def __init__(self, key: yaml.ScalarNode) -> None:
        super().__init__(f"line {key.start_mark.line + 1}: {key.value} stands there twice")


def read_cluster_file(path: Path) -> ClusterFile:
    """Read and check a cluster file.

    Raises:
        FleetError: It cannot be read, or a value is missing or wrong.
        UnknownNameError: The system or a key is unknown; names the nearest.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError as error:
        raise FleetError(f"{path}: no such file; examples/fleet has some to start from") from error
    except _TwiceError as error:
        raise FleetError(f"{path}, {error}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FleetError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(tree, dict):
        raise FleetError(
            f"{path}: a cluster file is a mapping of keys to values, this is {tree!r:.40}"
        )
    try:
        return _FILE.validate_python(tree)
    except ValidationError as error:
        raise _fault(path, tree, error) from error


def job_options(cluster: ClusterFile) -> dict[str, Any]:
    """What the class of dask-jobqueue is to be called with.

    The worker loads `decametre.fleet.preload` and, where jobs have a walltime, ends by itself
    before it: what it has in hand goes to another, and is not taken for a failure. Ends are spread,
    so that workers that began together do not leave together.
    """
    options = cluster.options
    ours = ["--preload", PRELOAD]
    if cluster.side_by_side is not None:
        ours += ["--resources", f"{SLOT}={cluster.side_by_side}"]
    if not _given(options, "--memory-limit"):
        memory = bytes_of(options.memory)
        ours += ["--memory-limit", f"{memory - min(MEMORY_SHARE * memory, MEMORY_MOST):.0f}B"]
    walltime = options.seconds()
    if walltime is not None and not _given(options, "--lifetime"):
        closing = int(min(CLOSING_SHARE * walltime, CLOSING_MOST))
        ours += ["--lifetime", f"{walltime - 2 * closing}s", "--lifetime-stagger", f"{closing}s"]
    return {
        **options.model_dump(exclude_unset=True),
        "job_name": options.job_name,
        "processes": 1,
        "worker_extra_args": [*ours, *options.worker_extra_args],
    }


def _given(options: Options, option: str) -> bool:
    """Whether the worker's command has an option already, or one whose name begins so."""
    return any(argument.startswith(option) for argument in options.worker_extra_args)


def _fault(
    path: Path, tree: dict[Any, Any], error: ValidationError
) -> FleetError | UnknownNameError:
    """The first fault, which is enough: the next run shows the next."""
    if "system" in tree and str(tree["system"]) not in FILES:
        return UnknownNameError(f"system in {path}", str(tree["system"]), FILES)
    if "system" not in tree:
        *most, last = FILES
        return FleetError(f"{path}: system is missing; choose {', '.join(most)} or {last}")
    fault = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    # Pydantic takes the system for a part of the place.
    place = [str(part) for part in fault["loc"][1:]]
    if fault["type"] == "extra_forbidden":
        section = ".".join(place[:-1])
        kind = f"key in {section} of {path}" if section else f"key in {path}"
        if place[-1] in KEY_HINTS:
            return FleetError(f"unknown {kind}: '{place[-1]}'; {KEY_HINTS[place[-1]]}")
        part: type[BaseModel] = FILES[tree["system"]]
        for key in place[:-1]:
            part = part.model_fields[key].annotation  # type: ignore[assignment]
        return UnknownNameError(kind, place[-1], part.model_fields)
    said = fault["msg"]
    if fault["type"] == "string_pattern_mismatch":
        said = "Input should be a number with a unit, such as 64GiB"
    elif fault["type"] == "model_type":
        said = "Input should be a mapping of keys to values"
    seen = "nothing" if fault["input"] is None else f"{fault['input']!r:.60}"
    return FleetError(
        f"{path}: {'.'.join(place)}: {said}" + f", not {seen}" * (fault["type"] != "missing")
    )
