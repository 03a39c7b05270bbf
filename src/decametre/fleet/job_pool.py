"""Workers in jobs of a batch system, through dask-jobqueue."""

from __future__ import annotations

import shlex
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
from distributed import Adaptive, Client, Security, Status
from distributed.deploy.spec import ProcessInterface
from tornado.ioloop import IOLoop

from decametre.errors import FleetError
from decametre.fleet.cluster_file import ClusterFile, cluster_class, job_options
from decametre.fleet.engine import WorkerPool
from decametre.fleet.job_resubmission import JobResubmitter
from decametre.fleet.worker_pools import dask_settings, event_loop


@contextmanager
def job_pool(file: ClusterFile, logs: Path, left: int) -> Iterator[WorkerPool]:
    """Submit jobs that each run one worker; they end with the block.

    There are as many as products left, within the limits of the file.

    Args:
        file: The cluster.
        logs: Folder for the output of the jobs.
        left: How many products there are to process.

    Raises:
        FleetError: Jobs cannot be submitted here.
    """
    least, most = file.workers.minimum, file.workers.maximum
    number = str(most) if least == most else f"{least} to {most}"
    with (
        dask_settings(lost_worker="2s"),
        event_loop() as loop,
        _certificates(file, logs) as security,
        _submitted_jobs(file, logs, loop, security) as cluster,
        Client(cluster, loop=loop) as client,
    ):
        pool = WorkerPool(client, f"{number} workers in jobs of {file.system}", left)
        resubmit = JobResubmitter(cluster, logs)

        class ProductsLeftAdaptive(Adaptive):
            """Scales by products left; dask's default counts only the submitted tasks.

            Needed for a fixed number of workers, too: it replaces jobs that reach their walltime.
            """

            async def target(self) -> int:
                await resubmit()
                pool.fault = resubmit.fault
                return max(least, min(most, pool.left))

        cluster.adapt(Adaptive=ProductsLeftAdaptive, minimum=least, maximum=most)
        yield pool


@contextmanager
def _submitted_jobs(
    file: ClusterFile, logs: Path, loop: IOLoop, security: Security | None
) -> Iterator[Any]:
    """A cluster whose first jobs have been submitted; they end with the block."""
    cluster = job_cluster(file, logs, loop, security)

    async def submit() -> None:
        await cluster

    try:
        command = cluster.job_cls.submit_command.split()[0]
        if shutil.which(command) is None:
            raise FleetError(
                f"{command}: no such command on this machine; start the fleet where jobs of "
                f"{file.system} are submitted"
            )
        cluster.scale(max(1, file.workers.minimum))
        cluster.sync(submit)
        refusals = [job.refusal for job in cluster.workers.values()]
        if all(refusals):
            raise FleetError(f"{command} refused all jobs of the cluster file: {refusals[0]}")
        yield cluster
    finally:
        cluster.close()


class _Job(ProcessInterface):
    """Extends a job of dask-jobqueue, which is submitted once and never checked again.

    Attributes:
        marks: Folder that all nodes share.
        mark: Name of a file in it, which the job's script removes when it ends.
        refusal: Why the batch system refused the job; None if it did not.
    """

    marks: Path
    refusal: str | None = None
    config_name: str

    def __init__(
        self,
        scheduler: str | None = None,
        name: str | None = None,
        *,
        config_name: str | None = None,
        job_script_prologue: list[str] | None = None,
        **options: Any,
    ) -> None:
        self.mark = f".job-{uuid.uuid4().hex}"
        if job_script_prologue is None:
            section = f"jobqueue.{config_name or type(self).config_name}"
            job_script_prologue = dask.config.get(f"{section}.job-script-prologue", None)
        remove = f"rm -f {shlex.quote(str(self.marks / self.mark))}"
        super().__init__(  # type: ignore[call-arg]  # of a job class of dask-jobqueue
            scheduler,
            name,
            config_name=config_name,
            job_script_prologue=[f"trap {shlex.quote(remove)} EXIT", *(job_script_prologue or [])],
            **options,
        )

    async def start(self) -> None:
        """Submit the job. A refusal is stored: dask would only log an exception."""
        try:
            (self.marks / self.mark).touch()
            await super().start()
        except (OSError, RuntimeError, ValueError) as error:
            self.refusal = _last_line(error)
            self.status = Status.running

    async def close(self) -> None:
        """Cancel the job."""
        await super().close()
        (self.marks / self.mark).unlink(missing_ok=True)
        self.status = Status.closed


def _last_line(error: Exception) -> str:
    """The last line of the submit command's output, from dask-jobqueue's report of it."""
    text = str(error).partition("stdout:")[2] or str(error)
    lines = [line for line in map(str.strip, text.splitlines()) if line not in ("", "stderr:")]
    return lines[-1] if lines else "the submit command gave no reason"


@contextmanager
def _certificates(file: ClusterFile, logs: Path) -> Iterator[Security | None]:
    """Certificates for this run, in files that only this user can read; None without encryption."""
    if file.options.security is None and "security" in file.options.model_fields_set:
        yield None
        return
    logs.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".tls-", dir=logs.absolute()) as folder:
        config = Security.temporary().get_tls_config_for_role("scheduler")
        paths = {key: Path(folder, key) for key in ("ca_file", "cert", "key")}
        for key, path in paths.items():
            path.write_text(config[key])
        files = {
            f"tls_{role}_{key}": str(paths[key])
            for role in ("client", "scheduler", "worker")
            for key in ("cert", "key")
        }
        yield Security(tls_ca_file=str(paths["ca_file"]), require_encryption=True, **files)


def job_cluster(
    file: ClusterFile, logs: Path, loop: IOLoop, security: Security | None = None
) -> Any:
    """The dask-jobqueue cluster that a file describes; no job is submitted yet.

    Args:
        file: The cluster.
        logs: See `job_pool`.
        loop: Runs the scheduler.
        security: Certificates; None for connections that are not encrypted.

    Raises:
        FleetError: dask-jobqueue rejects the options.
    """
    logs.mkdir(parents=True, exist_ok=True)
    kind = cluster_class(file)
    job = type("Job", (_Job, kind.job_cls), {"marks": logs.absolute()})
    options = {"log_directory": str(logs)} | job_options(file) | {"security": security}
    try:
        with warnings.catch_warnings():  # for example, another fleet uses the dashboard's port
            warnings.simplefilter("ignore", UserWarning)
            return kind(job_cls=job, loop=loop, **options)
    except Exception as error:  # of dask, of dask-jobqueue, and of what they call
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FleetError(f"cluster file: dask-jobqueue rejects it: {reason}") from error
