"""All runs of a fleet in an output folder, read from its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from decametre.errors import FleetError
from decametre.fleet.events import driver_is_running, events_path, read_events
from decametre.fleet.progress import RunProgress
from decametre.fleet.records import OTHER, Attempt, CompletedProduct, WorkerInterval


@dataclass(frozen=True)
class History:
    """The runs in an output folder.

    Attributes:
        runs: At least one, oldest first.
    """

    runs: Sequence[RunProgress]

    @property
    def latest(self) -> RunProgress:
        """The latest run."""
        return self.runs[-1]

    @cached_property
    def workers(self) -> dict[tuple[int, str], WorkerInterval]:
        """All workers by run and address."""
        return {
            (run.number, address): worker
            for run in self.runs
            for address, worker in run.workers.items()
        }

    @cached_property
    def completed(self) -> list[CompletedProduct]:
        """The products that all runs computed, in the order of completion."""
        return [product for run in self.runs for product in run.completed]

    @cached_property
    def failed_attempts(self) -> list[Attempt]:
        """The failed attempts of all runs whose times are known."""
        return [attempt for run in self.runs for attempt in run.failed_attempts]

    @cached_property
    def results(self) -> list[CompletedProduct]:
        """The current results: of a product that was computed repeatedly, the latest."""
        return list({product.name: product for product in self.completed}.values())

    @cached_property
    def stages(self) -> list[str]:
        """All stages in the order of the work, `OTHER` last."""
        orders = {tuple(product.stages) for product in self.completed}
        longest_first = sorted(orders, key=lambda order: (-len({*order} - {OTHER}), order))
        names = dict.fromkeys(name for order in longest_first for name in order)
        return sorted(names, key=lambda name: name == OTHER)


def read_history(out: Path, keep_products: bool = False) -> History:
    """Read the journal of an output folder.

    Args:
        out: The output folder.
        keep_products: Whether the runs keep their products, which takes about 2 kB for each.

    Raises:
        FleetError: No fleet has used the folder, or its journal is damaged.
    """
    was_running = driver_is_running(out)  # first, since the run may end while the journal is read
    runs: list[RunProgress] = []
    for event in read_events(out):
        if event["event"] == "run":
            runs.append(RunProgress(event, len(runs), keep_products))
        elif runs:
            runs[-1].add(event)
    if not runs:
        raise FleetError(
            f"{out}: no fleet has run there ({events_path(out)} lists no run); give the OUT of "
            "`decametre fleet sharpen`, `extract` or `predict`"
        )
    is_running = was_running or driver_is_running(out)
    for run in runs[: -1 if is_running else None]:
        if run.ended is None:
            run.ended = "killed"
    return History(runs)
