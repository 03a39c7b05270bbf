"""Cluster files: what is checked, and the scripts that dask-jobqueue makes of the shipped ones."""

import asyncio
import inspect
import os
import shlex
import signal
import subprocess
import sys
import time
from itertools import pairwise

import dask_jobqueue
import pytest
from dask.utils import parse_bytes, parse_timedelta

from decametre.errors import FleetError, UnknownNameError
from decametre.fleet.cluster_file import (
    FILES,
    KEY_HINTS,
    Options,
    TimedOptions,
    job_options,
    read_cluster_file,
)
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "fleet"
SHIPPED = sorted(EXAMPLES.glob("*.yaml"))
SCRIPTS = sorted((EXAMPLES / "mixed").glob("*.sh"))

MINIMAL = {
    "slurm": "system: slurm\nworkers: 2\noptions: {cores: 2, memory: 4GiB, walltime: '01:00:00'}\n",
    "pbs": "system: pbs\nworkers: 2\noptions: {cores: 2, memory: 4GiB, walltime: '01:00:00'}\n",
    "sge": "system: sge\nworkers: 2\noptions: {cores: 2, memory: 4GiB, walltime: '01:00:00'}\n",
    "lsf": "system: lsf\nworkers: 2\noptions: {cores: 2, memory: 4GiB, walltime: '01:00'}\n",
    "oar": (
        "system: oar\nworkers: 2\noptions: {cores: 2, memory: 4GiB, walltime: '01:00:00', "
        "memory_per_core_property_name: not_applicable}\n"
    ),
    "htcondor": "system: htcondor\nworkers: 2\noptions: {cores: 2, memory: 4GiB, disk: 1GB}\n",
}


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "cluster.yaml"
        path.write_text(text)
        return read_cluster_file(path)

    return read


def job_script(file):
    """As submitted; asynchronous, so that no scheduler is started."""

    async def made():
        kind = getattr(dask_jobqueue, file.cluster_class)
        return kind(asynchronous=True, **job_options(file)).job_script()

    return asyncio.run(made())


def worker_of(script):
    """The options of the worker's command: the last of each counts."""
    (line,) = (line for line in script.splitlines() if "distributed.cli.dask_worker" in line)
    words = shlex.split(line)
    assert words[:3] == [sys.executable, "-m", "distributed.cli.dask_worker"]
    return {word: after for word, after in pairwise(words) if word[:2] == "--"}


def head_of(script, sign):
    return [
        line.removeprefix(sign).strip()
        for line in script.splitlines()
        if line.startswith(f"{sign} ")
    ]


def test_the_gpu_example():
    file = read_cluster_file(EXAMPLES / "slurm_gpu.yaml")
    assert file.cluster_class == "SLURMCluster"
    script = job_script(file)
    assert script.startswith("#!/usr/bin/env bash\n")
    assert head_of(script, "#SBATCH") == [
        "-J decametre-fleet",
        "-p gpu",
        "-n 1",
        "--cpus-per-task=8",
        "--mem=32G",
        "-t 08:00:00",
        "--gres=gpu:1",
    ]
    worker = worker_of(script)
    assert worker["--nthreads"] == "8"
    assert parse_bytes(worker["--memory-limit"]) == 31 * 2**30
    assert worker["--preload"] == "decametre.fleet.preload"
    assert worker["--resources"] == "slot=3"
    assert worker["--lifetime"] == "28200s"
    assert worker["--lifetime-stagger"] == "300s"
    assert worker["--local-directory"] == "/tmp"
    assert "--nworkers" not in worker


def test_the_processors_example():
    script = job_script(read_cluster_file(EXAMPLES / "slurm_cpu.yaml"))
    assert head_of(script, "#SBATCH") == [
        "-J decametre-fleet",
        "-p cpu",
        "-n 1",
        "--cpus-per-task=4",
        "--mem=16G",
        "-t 12:00:00",
    ]
    worker = worker_of(script)
    assert worker["--nthreads"] == "4"
    assert parse_bytes(worker["--memory-limit"]) == 15 * 2**30
    assert worker["--preload"] == "decametre.fleet.preload"
    assert worker["--lifetime"] == "42600s"
    assert "--resources" not in worker


def test_the_pbs_example():
    script = job_script(read_cluster_file(EXAMPLES / "pbs_cpu.yaml"))
    assert head_of(script, "#PBS") == [
        "-N decametre-fleet",
        "-q workq",
        "-l select=1:ncpus=4:mem=16gb",
        "-l walltime=12:00:00",
    ]
    worker = worker_of(script)
    assert worker["--nthreads"] == "4"
    assert parse_bytes(worker["--memory-limit"]) == 15 * 2**30
    assert worker["--preload"] == "decametre.fleet.preload"
    assert worker["--lifetime"] == "42600s"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_commented_out_in_an_example_can_be_had(path, read, tmp_path):
    """A user takes the sign away, and it works."""
    lines = path.read_text().splitlines()
    below = lines.index("options:")
    text = "\n".join(
        line.replace("  # ", "  ", 1) if number > below and line.startswith("  # ") else line
        for number, line in enumerate(lines)
    )
    file = read(text)
    assert file.options.account
    assert file.options.interface == "ib0"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_job_script_is_a_script(path, tmp_path):
    script = tmp_path / "job.sh"
    script.write_text(job_script(read_cluster_file(path)))
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("system", FILES)
def test_every_system_has_its_options(system, read):
    """Each name that dask-jobqueue takes can be given, but for old ones and for ours."""
    job = getattr(dask_jobqueue, FILES[system].cluster_class).job_cls
    names = {
        *inspect.signature(job.__init__).parameters,
        *inspect.signature(job.__mro__[1].__init__).parameters,
        *inspect.signature(dask_jobqueue.core.Job.__init__).parameters,
        *inspect.signature(dask_jobqueue.JobQueueCluster.__init__).parameters,
    }
    names -= {"self", "base_class_kwargs", "job_kwargs"}
    names -= {"extra", "job_extra", "env_extra", "header_skip"}  # the names of old
    names -= {"scheduler", "name", "processes", "worker_command", "n_workers", "job_cls", "loop"}
    names -= {"silence_logs", "asynchronous", "scheduler_cls", "dashboard_address", "host"}
    if "account" in names:
        names -= {"project"}
    assert set(FILES[system].model_fields["options"].annotation.model_fields) == names
    script = job_script(read(MINIMAL[system]))
    assert "decametre.fleet.preload" in script
    assert "--nthreads 2" in script
    assert ("--lifetime 3240s" in script) == (system != "htcondor")


def test_options_are_handed_on_as_they_are(read):
    file = read(
        MINIMAL["slurm"].replace("cores: 2", "cores: 2, account: us, death_timeout: 90.0, "
        "scheduler_options: {port: 8786}, worker_extra_args: [--lifetime, 10m, --no-dashboard]")
    )  # fmt: skip
    options = job_options(file)
    assert options["account"] == "us"
    assert options["scheduler_options"] == {"port": 8786}
    assert "queue" not in options  # dask's own configuration says
    # A lifetime that is given is the only one.
    assert options["worker_extra_args"] == [
        "--preload", "decametre.fleet.preload", "--memory-limit", "3865470566B",
        "--lifetime", "10m", "--no-dashboard",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("memory", "left"),
    [("64GiB", 2**30), ("16 gib", 2**30), ("16G", 2**30), ("5000MB", 500e6), ("1.5Ti", 2**30)],
)
def test_a_worker_leaves_a_little_of_what_its_job_asks_for(memory, left, read):
    """dask counts the worker alone, where the job counts the process that watches over it, too."""
    script = job_script(read(MINIMAL["slurm"].replace("4GiB", memory)))
    (asked,) = (line for line in head_of(script, "#SBATCH") if line.startswith("--mem="))
    limit = parse_bytes(worker_of(script)["--memory-limit"])
    assert parse_bytes(memory) - limit == pytest.approx(left, abs=1)
    assert limit < parse_bytes(asked.partition("=")[2] + "iB")


def test_a_memory_limit_that_is_given_is_the_only_one(read):
    text = MINIMAL["slurm"].replace(
        "cores: 2", "cores: 2, worker_extra_args: [--memory-limit=3GiB]"
    )
    assert "--memory-limit" not in job_options(read(text))["worker_extra_args"]
    assert "--memory-limit=3GiB" in job_script(read(text))


@pytest.mark.parametrize(
    ("given", "minimum", "maximum"),
    [("16", 16, 16), ("{minimum: 0, maximum: 64}", 0, 64)],
)
def test_workers(read, given, minimum, maximum):
    workers = read(MINIMAL["slurm"].replace("workers: 2", f"workers: {given}")).workers
    assert (workers.minimum, workers.maximum) == (minimum, maximum)


@pytest.mark.parametrize(
    ("system", "walltime", "seconds"),
    [
        ("slurm", "90", 5400),
        ("slurm", "90:30", 5430),
        ("slurm", "12:00:00", 43200),
        ("slurm", "2-12", 216000),
        ("slurm", "1-00:30", 88200),
        ("slurm", "1-00:30:05", 88205),
        ("pbs", "3600", 3600),
        ("pbs", "30:00", 1800),
        ("sge", "01:00:00", 3600),
        ("lsf", "90", 5400),
        ("lsf", "01:30", 5400),
        ("oar", "2", 7200),
        ("oar", "02:30", 9000),
    ],
)
def test_a_walltime_is_understood_as_the_system_does(system, walltime, seconds, read):
    text = (
        MINIMAL[system].replace("'01:00:00'", f"'{walltime}'").replace("'01:00'", f"'{walltime}'")
    )
    file = read(text)
    assert file.options.seconds() == seconds
    arguments = job_options(file)["worker_extra_args"]
    lifetime = parse_timedelta(arguments[arguments.index("--lifetime") + 1])
    stagger = parse_timedelta(arguments[arguments.index("--lifetime-stagger") + 1])
    # The last to end has a while left, and a worker lives for most of its job.
    assert seconds * 0.9 <= lifetime < lifetime + stagger < seconds
    assert seconds - lifetime - stagger >= min(300, seconds // 20)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("workers: 2", "workers: 0", "workers.maximum"),
        ("workers: 2", "workers: many", "workers: Input should be a whole number"),
        ("workers: 2", "workers: true", "workers: Input should be a whole number"),
        ("workers: 2", "workers: {minimum: 3, maximum: 2}", "workers: maximum"),
        ("workers: 2\n", "", "workers: Field required"),
        ("cores: 2, ", "", "options.cores: Field required"),
        ("cores: 2", "cores: two", "options.cores"),
        ("cores: 2", "cores: 2.5", "options.cores"),
        ("memory: 4GiB", "memory: 4", "options.memory: Input should have a unit"),
        ("memory: 4GiB", "memory: 0GiB", "options.memory: Input should be more than nothing"),
        ("memory: 4GiB", "memory: 0.0 MB", "options.memory: Input should be more than nothing"),
        ("memory: 4GiB", "memory: plenty", "options.memory: Input should be a number with a unit"),
        ("'01:00:00'", "12:00:00", "in quotes"),
        ("'01:00:00'", "'4h'", "options.walltime: Input should be a time as the system"),
        ("'01:00:00'", "'1-'", "options.walltime"),
        ("'01:00:00'", "'00:00:00'", "options.walltime"),
        (", walltime: '01:00:00'", "", "options.walltime: Field required"),
        ("cores: 2", "cores: 2, partition: gpu", "dask-jobqueue calls it queue"),
        ("cores: 2", "cores: 2, processes: 4", "a job is one worker"),
        ("cores: 2", "cores: 2, worker_extra_args: --no-nanny", "options.worker_extra_args"),
        ("cores: 2", "cores: 2, job_extra: [x]", "calls it job_extra_directives now"),
        (
            "system: slurm\n",
            "",
            ": system is missing; choose slurm, pbs, sge, lsf, oar or htcondor",
        ),
        ("system:", "nosystem:", ": system is missing; choose slurm, pbs"),
        ("options:", "options: 3 #", "options: Input should be a mapping of keys to values, not 3"),
        (
            "options:",
            "options: #",
            "options: Input should be a mapping of keys to values, not noth",
        ),
        ("options:", "workers: 3\noptions:", ", line 3: workers stands there twice"),
        ("cores: 2", "cores: 2, cores: 4", ", line 3: cores stands there twice"),
    ],
)
def test_a_mistake_is_one_line(read, tmp_path, old, new, said):
    assert old in MINIMAL["slurm"]
    with pytest.raises(FleetError) as error:
        read(MINIMAL["slurm"].replace(old, new))
    assert said in str(error.value)
    assert str(tmp_path / "cluster.yaml") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "nearest"),
    [
        ("slurm", "slurmm", "mean slurm"),
        ("slurm", "[]", "known: slurm"),
        ("workers: 2", "worker: 2", "mean workers"),
        ("workers: 2", "workers: {min: 0, maximum: 2}", "minimum"),
        ("cores: 2", "cores: 2, que: x", "mean queue"),
        # An option of another system.
        ("cores: 2", "cores: 2, resource_specs: x", "unknown key in options"),
    ],
)
def test_an_unknown_key_names_the_nearest_right_one(read, old, new, nearest):
    with pytest.raises((UnknownNameError, FleetError)) as error:
        read(MINIMAL["slurm"].replace(old, new))
    assert "unknown" in str(error.value)
    assert nearest in str(error.value)


def test_a_file_that_cannot_be_read(read, tmp_path):
    for text in ("{", "- a\n- b", "", "\0"):
        with pytest.raises(FleetError, match=r"cluster\.yaml"):
            read(text)
    with pytest.raises(FleetError, match="no such file"):
        read_cluster_file(tmp_path / "missing.yaml")


def test_words_of_others_are_none_of_ours():
    known = set(TimedOptions.model_fields) | set(Options.model_fields)
    assert not known & KEY_HINTS.keys()


# A mixed partition ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_can_be_read_by_bash(path):
    subprocess.run(["bash", "-n", path], check=True)
    assert os.access(path, os.X_OK) == os.access(ROOT / "examples/slurm/train.sh", os.X_OK)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A machine on which srun, dask and decametre only tell what they were called with."""
    tools = {
        # Options up to the command are SLURM's.
        "srun": 'echo "srun $*" >>calls; while [[ $1 == --* ]]; do shift; done; exec "$@"',
        "dask": 'echo "dask $*" >>calls; exec sleep 60',
        "scontrol": 'echo "scontrol $*" >>calls',
        "hostname": "echo node1",
        # Ends as a fleet that is asked to.
        "decametre": (
            'echo "decametre $*" >>calls; trap "exit 130" TERM; '
            "for ((n = 0; n < ${SECONDS_OF_WORK:-0} * 20; n++)); do sleep 0.05; done; exit 3"
        ),
    }
    (tmp_path / "bin").mkdir()
    for name, text in tools.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def calls_of(folder, number):
    """What was called, once there are so many calls."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        path = folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= number:
            return lines
        time.sleep(0.02)
    raise AssertionError(lines)


def test_one_job_starts_two_kinds_of_workers_and_ends_as_the_fleet_does(slurm, monkeypatch):
    monkeypatch.setenv("SECONDS_OF_WORK", "1")
    began = time.monotonic()
    script = subprocess.Popen(["bash", EXAMPLES / "mixed" / "one_job.sh", "sharpen", "in", "out"])
    calls = calls_of(slurm, 6)
    assert script.wait(20) == 3
    assert time.monotonic() - began < 20  # nobody waits for workers
    address = "tcp://node1:24711"
    assert f"decametre fleet sharpen in out --scheduler {address}" in calls
    (scheduler,) = (call for call in calls if call.startswith("dask scheduler"))
    assert "--port 24711" in scheduler
    workers = [call for call in calls if call.startswith(f"dask worker {address} ")]
    assert len(workers) == 2
    assert all("--preload decametre.fleet.preload" in call for call in workers)
    gpu, cpu = sorted(workers, key=lambda call: "--nthreads 4" in call)
    assert "--nthreads 8" in gpu
    assert "--nthreads 4" in cpu
    started = [call for call in calls if call.startswith("srun")]
    assert any("--het-group=1" in call and "--gpus-per-task=1" in call for call in started)
    assert any("--het-group=2" in call and "--gpus" not in call for call in started)
    assert not any(call.startswith("scontrol") for call in calls)


def test_one_job_goes_back_into_the_queue_before_its_time_is_over(slurm, monkeypatch):
    monkeypatch.setenv("SECONDS_OF_WORK", "60")
    script = subprocess.Popen(["bash", EXAMPLES / "mixed" / "one_job.sh", "sharpen", "in", "out"])
    calls_of(slurm, 6)
    script.send_signal(signal.SIGUSR1)
    assert script.wait(20) == 130
    assert calls_of(slurm, 7)[-1] == "scontrol requeue 4711"


def test_several_jobs_meet_by_a_file(slurm, monkeypatch):
    monkeypatch.setenv("SECONDS_OF_WORK", "1")
    mixed = EXAMPLES / "mixed"
    old, others = (slurm / f"scheduler-{job}.json" for job in (4711, 4710))
    old.write_text("of this job before it was put into the queue again")
    others.write_text("of another head in this folder")
    assert subprocess.run(["bash", mixed / "head.sh", "sharpen", "in", "out"]).returncode == 3
    calls = calls_of(slurm, 2)
    assert "decametre fleet sharpen in out --scheduler tcp://node1:24711" in calls
    assert any(
        "--port 24711" in call and "--scheduler-file scheduler-4711.json" in call for call in calls
    )
    assert not old.exists()
    assert others.exists()


@pytest.mark.parametrize("script", ["head.sh", "one_job.sh"])
def test_a_port_is_none_that_linux_gives_away(script, slurm, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "10019999")  # of 20,000 ports, this was 39999
    subprocess.run(["bash", EXAMPLES / "mixed" / script, "sharpen", "in", "out"])
    (call,) = (call for call in calls_of(slurm, 2) if call.startswith("decametre"))
    assert 20000 <= int(call.rpartition(":")[2]) < 32768


def test_components_of_one_job_ask_alike_and_start_as_many_tasks_as_they_ask_for():
    text = (EXAMPLES / "mixed" / "one_job.sh").read_text()
    asked = [line for line in head_of(text, "#SBATCH") if "--ntasks" in line]
    # One component may inherit --mem of another, and --mem and --mem-per-cpu exclude each other.
    assert all("--mem-per-cpu=" in line and "--mem=" not in line for line in asked)
    for number, line in enumerate(asked[1:], 1):
        (started,) = (each for each in text.splitlines() if f"srun --het-group={number} " in each)
        for option in ("--ntasks=", "--cpus-per-task="):
            (value,) = (word for word in line.split() if word.startswith(option))
            assert value in started.split()


@pytest.mark.parametrize("kind", ["gpu", "cpu"])
def test_a_workers_job_ends_before_its_time(kind, slurm):
    path = EXAMPLES / "mixed" / f"{kind}_worker.sh"
    (slurm / "bin" / "dask").write_text('#!/bin/bash\necho "dask $*" >>calls\n')
    subprocess.run(["bash", path, "4711"], check=True)
    (call,) = calls_of(slurm, 1)
    words = call.split()
    options = dict(pairwise(words))
    asked = dict(line.partition("=")[::2] for line in head_of(path.read_text(), "#SBATCH"))
    assert options["--scheduler-file"] == "scheduler-4711.json"
    assert options["--preload"] == "decametre.fleet.preload"
    assert options["--nthreads"] == asked["--cpus-per-task"]
    assert parse_bytes(options["--memory-limit"]) < parse_bytes(asked["--mem"] + "iB")
    hours, minutes, seconds = map(int, asked["--time"].split(":"))
    latest = parse_timedelta(options["--lifetime"]) + parse_timedelta(options["--lifetime-stagger"])
    assert latest <= hours * 3600 + minutes * 60 + seconds - 300
    assert ("--gpus-per-task" in asked) == (kind == "gpu")


@pytest.mark.parametrize("kind", ["gpu", "cpu"])
def test_a_worker_that_is_not_told_its_head_says_so(kind, slurm):
    path = EXAMPLES / "mixed" / f"{kind}_worker.sh"
    ended = subprocess.run(["bash", path], capture_output=True, text=True)
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1
    assert "give the job id of head.sh" in ended.stderr
    assert not (slurm / "calls").exists()
