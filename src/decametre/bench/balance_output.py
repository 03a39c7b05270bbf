"""Files of `bench balance`: the rows, all numbers, and a figure."""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decametre.bench.balance import Change
from decametre.bench.balance_report import EFFICIENCY, Report, Row, Spread
from decametre.errors import OutputError

COLOURS = {"equal": "C1", "auto": "C0"}


def write_report(report: Report, folder: Path) -> None:
    """Write `balance.csv`, `balance.json`, `balance.md` and `balance.png`.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        rows = [dict(_flat(row)) for row in report.rows]
        with (folder / "balance.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*rows[0]], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        document = json.dumps(report.to_dict(), indent=2)
        (folder / "balance.json").write_text(document + "\n", encoding="utf-8")
        (folder / "balance.md").write_text(report.table() + "\n", encoding="utf-8")
        draw_balance(report, folder / "balance.png")
    except OSError as error:
        raise OutputError(f"{folder}: cannot write ({error.strerror or error})") from error


def check_writable(folder: Path) -> None:
    """Make the folder, before anything is measured for it.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
        (folder / "balance.json").open("a").close()
    except OSError as error:
        raise OutputError(f"{folder}: cannot write ({error.strerror or error})") from error


def _flat(row: Row) -> Iterator[tuple[str, Any]]:
    """A row's values, spreads as three columns."""
    for name, value in vars(row).items():
        if isinstance(value, Spread):
            yield name, value.median
            yield f"{name}_least", value.least
            yield f"{name}_most", value.most
        elif isinstance(value, tuple):
            yield name, " ".join(map(str, value))
        else:
            yield name, value
    yield "efficient", row.efficient
    yield "cheap", row.cheap


def draw_balance(report: Report, path: Path) -> None:
    """Parts of the ideal by ratio, and the share of a rank that becomes slow and recovers."""
    figure = Figure(figsize=(9, 4.2), dpi=120)
    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2)
    _draw_rows(left, report.rows)
    if report.change is not None:
        _draw_change(right, report.change, sum(report.rows[-1].shares))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    figure.supxlabel(textwrap.fill(f"Measured: {report.caption}.", 140), fontsize=7)
    figure.savefig(path)


def _draw_rows(axes: Axes, rows: list[Row]) -> None:
    for shift, (name, colour) in zip((-0.2, 0.2), COLOURS.items(), strict=True):
        found: list[Spread] = [getattr(row, name) for row in rows]
        axes.bar(
            [place + shift for place in range(len(rows))],
            [s.median for s in found],
            0.36,
            yerr=[[s.median - s.least for s in found], [s.most - s.median for s in found]],
            color=colour,
            ecolor="0.2",
            label=f"{name} shares" if name == "equal" else "shares by speed (auto)",
        )
    axes.axhline(1, linestyle=":", color="0.6", label="ideal: both ranks alone, summed")
    axes.axhline(EFFICIENCY, linestyle="--", color="0.6", label=f"target: {EFFICIENCY:.0%}")
    labels = [f"1:{row.ratio}\n(measured 1:{row.measured_ratio.median:.2f})" for row in rows]
    axes.set_xticks(range(len(rows)), labels, fontsize=7)
    axes.set_ylabel("throughput / ideal")
    axes.set_xlabel("speeds of the two ranks")
    axes.set_title("Throughput", fontsize=10)


def _draw_change(axes: Axes, change: Change, batch: int) -> None:
    steps = range(1, len(change.shares) + 1)
    axes.step(steps, change.shares, color=COLOURS["auto"], where="mid")
    axes.axvspan(change.slowed, change.recovered, color="0.9", zorder=0)
    axes.plot(
        [change.slowed, change.recovered], [change.fitting] * 2, ":", color="0.4", linewidth=1.5
    )
    axes.text(change.slowed, change.fitting, " fitting ", fontsize=7, va="bottom", ha="left")
    axes.set_ylim(0, max(change.shares) * 1.15)
    axes.set_xlabel("step")
    axes.set_ylabel(f"samples of {batch} for rank 1")
    axes.set_title(f"Rank 1 is slowed 1:{change.ratio} in the shaded steps", fontsize=10)
