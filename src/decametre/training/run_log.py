"""The records of a run: a log file of JSON lines, TensorBoard events and pictures."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from decametre.files import parse_json, replacing

log = logging.getLogger(__name__)

LOG_NAME = "log.jsonl"


class RunLog:
    """Writes `log.jsonl`, TensorBoard events and `pictures/` to a run's folder.

    Args:
        folder: The run's folder.
        step: Step from which the run resumes; records of later steps are removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self.path = folder / LOG_NAME
        if self.path.is_file():
            text = self.path.read_text(encoding="utf-8", errors="replace")
            kept = [line for line in text.splitlines(keepends=True) if _line_step(line) <= step]
            with replacing(self.path) as partial:
                partial.write_text("".join(kept), encoding="utf-8")
        self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.events.close()

    def write(self, step: int, record: dict[str, Any], picture: np.ndarray | None = None) -> None:
        """Write the record of a validation.

        Args:
            step: Completed steps.
            record: Plain values, possibly nested. All are written to the log file, and numbers to
                TensorBoard; top-level values are also logged.
            picture: uint8, (rows, columns, 3).
        """
        line = {"step": step, **record}
        shown = (f"{key} {value}" for key, value in line.items() if not isinstance(value, dict))
        log.info("%s", " ".join(shown))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        for key, value in _flatten(record).items():
            self.events.add_scalar(key, value, step)
        if picture is not None:
            path = self.folder / "pictures" / f"step-{step:06d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(path)
            self.events.add_image("validation", picture, step, dataformats="HWC")
        self.events.flush()


def _line_step(line: str) -> float:
    """The step of a line of the log; infinite if the line is damaged."""
    try:
        return float(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _flatten(record: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a nested record by path, such as `scores/micro_f1`."""
    found: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            found |= _flatten(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            found[f"{prefix}{key}"] = value
    return found
