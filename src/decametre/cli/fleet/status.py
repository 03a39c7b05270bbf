"""`decametre fleet status`: the progress of a fleet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from decametre.cli.options import json_option
from decametre.fleet.formatting import amount, digits, duration, timestamp
from decametre.fleet.history import read_history
from decametre.fleet.progress import FAILURES_LISTED, RECENT_SECONDS, STATES, RunProgress

HOSTS_LISTED = 4


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@json_option
def status(out: Path, as_json: bool) -> None:
    """Show the progress of the fleet that writes to the folder OUT, or wrote to it.

    Counts, rates and failures are those of the latest run in that folder. Products that earlier
    runs completed count as completed.
    """
    progress = read_history(out).latest
    if as_json:
        click.echo(json.dumps(progress.to_dict(), indent=2))
        return
    for label, value in _rows(progress):
        click.echo(f"{label:<12} {value}")


def _rows(progress: RunProgress) -> Iterator[tuple[str, str]]:
    """The human-readable status: a label and a value for each line."""
    started = f"since {timestamp(progress.run['time'])}, {duration(progress.elapsed)}"
    yield "state", f"{STATES[progress.state]} ({started})"
    yield "command", progress.run["command"]
    yield "products", progress.counts()
    rates, recent = progress.rates, progress.recent_rates
    running = progress.state == "running"
    yield (
        "products/h",
        digits(rates.per_hour)
        + f", {digits(recent.per_hour)} in the last {duration(recent.seconds)}" * running,
    )
    if running:
        left = progress.seconds_left
        yield "time left", "unknown" if left is None else duration(left)
    for label, total, rate, recent_rate in (
        ("read", progress.bytes_in, rates.read, recent.read),
        ("written", progress.bytes_out, rates.written, recent.written),
    ):
        recently = f", {amount(recent_rate, 'B/s')} in the last {duration(RECENT_SECONDS)}"
        yield label, f"{amount(total, 'B')}, {amount(rate, 'B/s')}" + recently * running
    yield "cluster", progress.run["cluster"]
    if running:
        workers = progress.present_workers
        hosts = sorted({worker.host for worker in workers})
        threads, gpus = sum(one.threads for one in workers), sum(one.gpus for one in workers)
        yield (
            "workers",
            f"{len(workers)} with {threads} threads and {gpus} GPUs in total"
            + (f", on {_first(hosts)}" if hosts else ""),
        )
        yield "dashboard", progress.run["dashboard"] or "none"
    if progress.repeated:
        yield "retries", f"{progress.repeated:,} failed attempts were or will be retried"
    by_stage = progress.failures_by_stage().items()
    for stage, failures in sorted(by_stage, key=lambda pair: -len(pair[1])):
        yield "failed", f"{len(failures):,} in stage '{stage}'"
        for failure in failures[:FAILURES_LISTED]:
            yield "", f"  {failure.name}: {failure.reason}"
        if len(failures) > FAILURES_LISTED:
            yield "", f"  and {len(failures) - FAILURES_LISTED:,} more"


def _first(names: list[str]) -> str:
    """The first few of many names, and the number of the others."""
    more = f" and {len(names) - HOSTS_LISTED} more" if len(names) > HOSTS_LISTED else ""
    return ", ".join(names[:HOSTS_LISTED]) + more
