"""Synthetic journals, in the form that a driver writes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from decametre.fleet.events import events_path

START = 1_750_000_000.0

BANDS = ("B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09")

STAGES = {"open": 0.5, "stage_in": 2.0, "wait": 1.0, "compute": 12.0, "encode": 4.0}


class JournalWriter:
    """Writes the events of a journal; `now` is the time of the latest one."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = events_path(out)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.now = START

    def add(self, *events: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)
        self.now = events[-1]["time"]

    def run(
        self, products: int = 10, *, before: int = 0, after: float = 0.0, **fields: Any
    ) -> None:
        self.now += after
        self.add(
            {
                "event": "run",
                "time": self.now,
                "verb": "sharpen",
                "command": "decametre fleet sharpen products.txt out",
                "version": "0.1.0",
                "settings": {"model": "s2x", "quicklook": True},
                "products": products,
                "done_before": before,
                "cluster": "2 local workers of 1 thread",
                "dashboard": "http://127.0.0.1:8787/status",
            }
            | fields
        )

    def worker(self, address: str, joined: bool = True, after: float = 0.0, **fields: Any) -> None:
        self.add(
            {
                "event": "worker",
                "time": self.now + after,
                "worker": address,
                "name": f"worker {address}",
                "host": "node1",
                "memory": 4_000_000_000,
                "gpus": 0,
                "threads": 1,
                "joined": joined,
            }
            | fields
        )

    def done(self, name: str, after: float = 20.0, **fields: Any) -> None:
        self.add(done(name, self.now + after, **fields))

    def failed(
        self, name: str, stage: str = "open", final: bool = True, after: float = 1.0, **fields: Any
    ) -> None:
        now = self.now + after
        self.add(
            {
                "event": "failed",
                "time": now,
                "name": name,
                "source": f"in/{name}.SAFE",
                "worker": "0",
                "host": "node1",
                "attempt": 1,
                "start": now - 1,
                "end": now,
                "stage": stage,
                "reason": f"{name} is broken",
                "final": final,
            }
            | fields
        )

    def beat(self, running: int) -> None:
        self.add({"event": "beat", "time": self.now, "running": running})

    def ended(self, status: str = "complete", after: float = 0.0) -> None:
        self.add({"event": "ended", "time": self.now + after, "status": status})


def done(name: str, time: float, **fields: Any) -> dict[str, Any]:
    """The event of a completed product."""
    stages = fields.get("stages", STAGES)
    return {
        "event": "done",
        "time": time,
        "name": name,
        "source": f"in/{name}.SAFE",
        "item": f"{name}/{name}.json",
        "worker": "0",
        "host": "node1",
        "device": "cpu",
        "attempt": 1,
        "start": time - sum(stages.values()),
        "end": time,
        "stages": stages,
        "pixels": 360_000,
        "bytes_in": 1_000_000,
        "bytes_out": 2_000_000,
        "consistency": {},
        "quicklook": None,
        "already": False,
    } | fields


def residuals(chance: random.Random, factor: float = 1.0) -> dict[str, Any]:
    """Residuals of one product: about 10 DN in each band, times a factor."""
    values = {band: factor * chance.gauss(10, 1) for band in BANDS}
    return {
        band: {"rmse_dn": round(value, 3), "relative": round(value / 2000, 6), "pixels": 3600}
        for band, value in values.items()
    }


def long_run(out: Path, products: int, workers: int = 2, *, seed: int = 1) -> JournalWriter:
    """A run in which each worker completes one product after another."""
    chance = random.Random(seed)
    journal = JournalWriter(out)
    journal.run(products)
    for number in range(workers):
        journal.worker(str(number), host=f"node{number // 4}")
    free = [journal.now] * workers
    events = []
    for number in range(products):
        worker = number % workers
        stages = {
            stage: round(mean * chance.uniform(0.8, 1.2), 3) for stage, mean in STAGES.items()
        }
        start = free[worker]
        free[worker] = start + sum(stages.values())
        events.append(
            done(
                f"P{number:06d}",
                free[worker],
                worker=str(worker),
                start=start,
                stages=stages,
                consistency=residuals(chance),
            )
        )
    journal.add(*sorted(events, key=lambda event: event["time"]))
    return journal
