"""Checks of cluster files, and the job scripts of the examples."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from itertools import pairwise

import dask_jobqueue
import pytest
from dask.utils import parse_bytes, parse_timedelta

from decametre.errors import FleetError, UnknownNameError
from decametre.fleet.cluster_file import (
    SYSTEMS,
    cluster_class,
    job_options,
    read_cluster_file,
)
from tests.conftest import ROOT
from tests.fleet.light import wait_until

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
    """The script as submitted; asynchronous, so that no scheduler is started."""

    async def create():
        return cluster_class(file)(asynchronous=True, **job_options(file)).job_script()

    return asyncio.run(create())


def worker_of(script):
    """The options of the worker's command; the last of each counts."""
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


def test_gpu_example():
    file = read_cluster_file(EXAMPLES / "slurm_gpu.yaml")
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


def test_cpu_example():
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


def test_pbs_example():
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
def test_commented_lines_of_an_example_are_valid(path, read, tmp_path):
    """They work without the comment sign."""
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
def test_job_script_is_valid_bash(path, tmp_path):
    script = tmp_path / "job.sh"
    script.write_text(job_script(read_cluster_file(path)))
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("system", SYSTEMS)
def test_job_script_of_each_system(system, read):
    script = job_script(read(MINIMAL[system]))
    assert "decametre.fleet.preload" in script
    assert "--nthreads 2" in script
    assert ("--lifetime 3240s" in script) == (system != "htcondor")


def test_option_of_a_newer_dask_jobqueue_is_accepted(read, monkeypatch):
    class Job(dask_jobqueue.slurm.SLURMJob):
        __module__ = "dask_jobqueue.slurm"

        def __init__(self, *arguments, brand_new=None, **options):
            super().__init__(*arguments, **options)

    class Cluster(dask_jobqueue.SLURMCluster):
        job_cls = Job

    text = MINIMAL["slurm"].replace("cores: 2", "cores: 2, brand_new: [1]")
    with pytest.raises(UnknownNameError, match="brand_new"):
        read(text)
    monkeypatch.setattr(dask_jobqueue, "SLURMCluster", Cluster)
    assert job_options(read(text))["brand_new"] == [1]


def test_options_are_passed_on_unchanged(read):
    file = read(
        MINIMAL["slurm"].replace("cores: 2", "cores: 2, account: us, death_timeout: 90.0, "
        "scheduler_options: {port: 8786}, worker_extra_args: [--lifetime, 10m, --no-dashboard]")
    )  # fmt: skip
    options = job_options(file)
    assert options["account"] == "us"
    assert options["scheduler_options"] == {"port": 8786}
    assert "queue" not in options  # dask's own configuration sets it
    # The lifetime of the file is the only one.
    assert options["worker_extra_args"] == [
        "--preload", "decametre.fleet.preload", "--memory-limit", "3865470566B",
        "--lifetime", "10m", "--no-dashboard",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("memory", "left"),
    [("64GiB", 2**30), ("16 gib", 2**30), ("16G", 2**30), ("5000MB", 500e6), ("1.5Ti", 2**30)],
)
def test_worker_gets_less_memory_than_its_job(memory, left, read):
    """The process that watches the worker needs some as well."""
    script = job_script(read(MINIMAL["slurm"].replace("4GiB", memory)))
    (asked,) = (line for line in head_of(script, "#SBATCH") if line.startswith("--mem="))
    limit = parse_bytes(worker_of(script)["--memory-limit"])
    assert parse_bytes(memory) - limit == pytest.approx(left, abs=1)
    assert limit < parse_bytes(asked.partition("=")[2] + "iB")


def test_memory_limit_of_the_file_is_the_only_one(read):
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
def test_walltime_in_seconds(system, walltime, seconds, read):
    text = (
        MINIMAL[system].replace("'01:00:00'", f"'{walltime}'").replace("'01:00'", f"'{walltime}'")
    )
    file = read(text)
    assert file.walltime_seconds == seconds
    arguments = job_options(file)["worker_extra_args"]
    lifetime = parse_timedelta(arguments[arguments.index("--lifetime") + 1])
    stagger = parse_timedelta(arguments[arguments.index("--lifetime-stagger") + 1])
    # The worker that ends last leaves time, and runs for most of its job.
    assert seconds * 0.9 <= lifetime < lifetime + stagger < seconds
    assert seconds - lifetime - stagger >= min(300, seconds // 20)


@pytest.mark.parametrize(
    ("old", "new", "message"),
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
        ("memory: 4GiB", "memory: 0GiB", "options.memory: Input should be above zero"),
        ("memory: 4GiB", "memory: 0.0 MB", "options.memory: Input should be above zero"),
        ("memory: 4GiB", "memory: plenty", "options.memory: Input should be a number with a unit"),
        ("'01:00:00'", "12:00:00", "in quotes"),
        ("'01:00:00'", "'4h'", "options.walltime: Input should be a time as the system"),
        ("'01:00:00'", "'1-'", "options.walltime"),
        ("'01:00:00'", "'00:00:00'", "options.walltime"),
        (", walltime: '01:00:00'", "", "options.walltime: Field required"),
        ("cores: 2", "cores: 2, partition: gpu", "dask-jobqueue calls it queue"),
        ("cores: 2", "cores: 2, processes: 4", "each job runs one worker"),
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
        ("options:", "workers: 3\noptions:", "(line 3: the key workers is repeated)"),
        ("cores: 2", "cores: 2, cores: 4", "(line 3: the key cores is repeated)"),
    ],
)
def test_mistake_is_one_line(read, tmp_path, old, new, message):
    assert old in MINIMAL["slurm"]
    with pytest.raises(FleetError) as error:
        read(MINIMAL["slurm"].replace(old, new))
    assert message in str(error.value)
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
def test_unknown_key_names_the_nearest_one(read, old, new, nearest):
    with pytest.raises((UnknownNameError, FleetError)) as error:
        read(MINIMAL["slurm"].replace(old, new))
    assert "unknown" in str(error.value)
    assert nearest in str(error.value)


def test_file_that_cannot_be_read(read, tmp_path):
    for text in ("{", "- a\n- b", "", "\0"):
        with pytest.raises(FleetError, match=r"cluster\.yaml"):
            read(text)
    with pytest.raises(FleetError, match="no such file"):
        read_cluster_file(tmp_path / "missing.yaml")


# A mixed partition ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_valid_bash(path):
    subprocess.run(["bash", "-n", path], check=True)
    assert os.access(path, os.X_OK) == os.access(ROOT / "examples/slurm/train.sh", os.X_OK)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A machine on which srun, dask and decametre only record how they were called."""
    tools = {
        # Options up to the command are SLURM's.
        "srun": 'echo "srun $*" >>calls; while [[ $1 == --* ]]; do shift; done; exec "$@"',
        "dask": 'echo "dask $*" >>calls; exec sleep infinity',
        "scontrol": 'echo "scontrol $*" >>calls',
        "hostname": "echo node1",
        # Runs until the file `finish` exists; handles SIGTERM as a fleet does.
        "decametre": (
            'echo "decametre $*" >>calls; trap "exit 130" TERM; '
            "until [ -e finish ]; do sleep 0.05; done; exit 3"
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
    """The recorded calls, as soon as there are so many."""

    def lines():
        path = folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    wait_until(lambda: len(lines()) >= number)
    return lines()


def test_one_job_starts_two_kinds_of_workers_and_ends_with_the_fleet(slurm):
    script = subprocess.Popen(["bash", EXAMPLES / "mixed" / "one_job.sh", "sharpen", "in", "out"])
    calls = calls_of(slurm, 6)
    (slurm / "finish").touch()
    assert script.wait() == 3  # it does not wait for the workers
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


def test_one_job_requeues_itself_before_its_walltime_ends(slurm):
    script = subprocess.Popen(["bash", EXAMPLES / "mixed" / "one_job.sh", "sharpen", "in", "out"])
    calls_of(slurm, 6)
    script.send_signal(signal.SIGUSR1)
    assert script.wait() == 130
    assert calls_of(slurm, 7)[-1] == "scontrol requeue 4711"


def test_several_jobs_find_the_scheduler_by_a_file(slurm):
    mixed = EXAMPLES / "mixed"
    old, others = (slurm / f"scheduler-{job}.json" for job in (4711, 4710))
    old.write_text("of this job before it was put into the queue again")
    others.write_text("of another head in this folder")
    head = subprocess.Popen(["bash", mixed / "head.sh", "sharpen", "in", "out"])
    calls = calls_of(slurm, 2)
    (slurm / "finish").touch()
    assert head.wait() == 3
    assert "decametre fleet sharpen in out --scheduler tcp://node1:24711" in calls
    assert any(
        "--port 24711" in call and "--scheduler-file scheduler-4711.json" in call for call in calls
    )
    assert not old.exists()
    assert others.exists()


@pytest.mark.parametrize("script", ["head.sh", "one_job.sh"])
def test_port_is_below_those_that_linux_assigns(script, slurm, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "10019999")  # of 20,000 ports, this was 39999
    (slurm / "finish").touch()
    subprocess.run(["bash", EXAMPLES / "mixed" / script, "sharpen", "in", "out"])
    (call,) = (call for call in calls_of(slurm, 2) if call.startswith("decametre"))
    assert 20000 <= int(call.rpartition(":")[2]) < 32768


def test_components_of_one_job_start_the_tasks_that_they_request():
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
def test_worker_ends_before_the_walltime_of_its_job(kind, slurm):
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
def test_worker_without_the_id_of_its_head_is_an_error(kind, slurm):
    path = EXAMPLES / "mixed" / f"{kind}_worker.sh"
    ended = subprocess.run(["bash", path], capture_output=True, text=True)
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1
    assert "give the job id of head.sh" in ended.stderr
    assert not (slurm / "calls").exists()
