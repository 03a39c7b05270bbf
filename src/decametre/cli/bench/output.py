"""Output of benchmarks."""

from __future__ import annotations

import json
from typing import Any, Protocol

import click


class Report(Protocol):
    """Results of a benchmark."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        ...

    def table(self) -> str:
        """As a table in Markdown."""
        ...


def show(report: Report, as_json: bool) -> None:
    """Print the results of a benchmark."""
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())
