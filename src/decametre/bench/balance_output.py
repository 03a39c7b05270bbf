"""The files of a balance report: table, all numbers, and a figure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from decametre.bench.balance_measurement import SpeedChange
from decametre.bench.balance_report import EFFICIENCY, BalanceReport, BalanceRow
from decametre.bench.report_files import (
    Spread,
    new_figure,
    output_errors,
    save_figure,
    write_csv,
    write_json,
)

COLOURS = {"equal": "C1", "auto": "C0"}


def write_report(report: BalanceReport, folder: Path) -> None:
    """Write `balance.csv`, `balance.json`, `balance.md` and `balance.png`.

    Raises:
        OutputError: The folder cannot be written.
    """
    with output_errors(folder):
        write_csv(folder / "balance.csv", [dict(_columns(row)) for row in report.rows])
        write_json(folder / "balance.json", report.to_dict())
        (folder / "balance.md").write_text(report.table() + "\n", encoding="utf-8")
        draw_balance(report, folder / "balance.png")


def check_writable(folder: Path) -> None:
    """Create the folder, before a measurement is taken for it.

    Raises:
        OutputError: The folder cannot be written.
    """
    with output_errors(folder):
        folder.mkdir(exist_ok=True)
        (folder / "balance.json").open("a").close()


def _columns(row: BalanceRow) -> Iterator[tuple[str, Any]]:
    """The values of a row; a spread has three columns."""
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


def draw_balance(report: BalanceReport, path: Path) -> None:
    """Draw throughput by ratio, and the share of a rank that slows down and recovers."""
    figure = new_figure(9, 4.2)
    left, right = figure.subplots(1, 2)
    _draw_rows(left, report.rows)
    if report.change is not None:
        _draw_change(right, report.change, sum(report.rows[-1].shares))
    save_figure(figure, left, f"Measured: {report.caption}.", path)


def _draw_rows(axes: Axes, rows: list[BalanceRow]) -> None:
    for shift, (name, colour) in zip((-0.2, 0.2), COLOURS.items(), strict=True):
        found: list[Spread] = [getattr(row, name) for row in rows]
        axes.bar(
            [index + shift for index in range(len(rows))],
            [s.median for s in found],
            0.36,
            yerr=[[s.median - s.least for s in found], [s.most - s.median for s in found]],
            color=colour,
            ecolor="0.2",
            label=f"{name} shares" if name == "equal" else "shares by speed (auto)",
        )
    axes.axhline(1, linestyle=":", color="0.6", label="ideal: sum of both ranks alone")
    axes.axhline(EFFICIENCY, linestyle="--", color="0.6", label=f"target: {EFFICIENCY:.0%}")
    labels = [f"1:{row.ratio}\n(measured 1:{row.measured_ratio.median:.2f})" for row in rows]
    axes.set_xticks(range(len(rows)), labels, fontsize=7)
    axes.set_ylabel("throughput / ideal")
    axes.set_xlabel("speeds of the two ranks")
    axes.set_title("Throughput", fontsize=10)


def _draw_change(axes: Axes, change: SpeedChange, batch: int) -> None:
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
    axes.set_title(f"Rank 1 is slowed down 1:{change.ratio} in the shaded steps", fontsize=10)
