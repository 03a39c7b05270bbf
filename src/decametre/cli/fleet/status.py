"""`decametre fleet status`: how far is a fleet?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from decametre.cli.options import json_option
from decametre.fleet.formatting import amount, clock, digits, duration
from decametre.fleet.progress import RECENT_SECONDS, STATES, Status, counts, status_of


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@json_option
def status(out: Path, as_json: bool) -> None:
    """Tell how far the fleet is that writes, or wrote, to the folder OUT.

    Counts, rates and failures are those of the latest run in that folder. A product that an
    earlier run has done counts as done.
    """
    found = status_of(out)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    for label, value in _rows(found):
        click.echo(f"{label:<12} {value}")


def _rows(status: Status) -> Iterator[tuple[str, str]]:
    """What is shown to people: a label and a value a line."""
    progress, now = status.progress, status.now
    begun = f"since {clock(progress.run['time'])}, {duration(progress.elapsed(now))}"
    yield "state", f"{STATES[status.state]} ({begun})"
    yield "command", progress.run["command"]
    yield "products", counts(progress)
    rates, recent, left = (
        progress.rates(now),
        progress.recent_rates(now),
        progress.seconds_left(now),
    )
    running = status.state == "running"
    late = f", {digits(recent.per_hour)} in the last {duration(recent.seconds)}" if running else ""
    yield "products/h", f"{digits(rates.per_hour)}{late}"
    if running:
        yield "time left", "not known yet" if left is None else duration(left)
    for label, total, rate, of_late in (
        ("read", progress.bytes_in, rates.read, recent.read),
        ("written", progress.bytes_out, rates.written, recent.written),
    ):
        late = (
            f", {amount(of_late, 'B/s')} in the last {duration(RECENT_SECONDS)}" if running else ""
        )
        yield label, f"{amount(total, 'B')}, {amount(rate, 'B/s')}{late}"
    yield "cluster", progress.run["cluster"]
    if running:
        hosts = sorted({worker.host for worker in progress.workers.values()})
        threads = sum(worker.threads for worker in progress.workers.values())
        gpus = sum(worker.gpus for worker in progress.workers.values())
        yield (
            "workers",
            f"{len(progress.workers)} with {threads} threads and {gpus} GPUs in all"
            + (f", on {_first(hosts)}" if hosts else ""),
        )
        yield "dashboard", progress.run["dashboard"] or "none"
    if progress.repeated:
        yield "repeated", f"failed attempts that were followed by another: {progress.repeated:,}"
    for stage, failures in sorted(progress.failures.items(), key=lambda pair: -pair[1].count):
        yield "failed", f"{failures.count:,} in stage '{stage}'"
        for name, reason in failures.first:
            yield "", f"  {name}: {reason}"
        if failures.count > len(failures.first):
            yield "", f"  and {failures.count - len(failures.first):,} more"


def _first(names: list[str], most: int = 4) -> str:
    """The first few of many names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
