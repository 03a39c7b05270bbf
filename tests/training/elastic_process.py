"""A rank of a small run that continues when ranks are lost.

    python -m tests.training.elastic_process JOB

JOB is a JSON object: `folder`; and `events`, for each launch rank a step, a place in it and a
signal that the process then sends to itself. Places: `loss`, between the exchange of counts and
that of gradients; `end`, after the step; `validate`; `save`, before the files of a validation are
complete. With `all`, the ranks take the last steps when all of them are there. Without the variable
RANK, it is a run of a single process.
"""

import json
import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks.fault_task import Points, fault_recipe
from decametre.training.checkpoint import read_newest_checkpoint
from decametre.training.elastic import join_elastic_ranks
from decametre.training.launcher import read_rank_info
from decametre.training.loop import fit
from decametre.training.observer import TrainingObserver
from decametre.training.ranks import SINGLE_PROCESS

STEPS, EVERY = 30, 5
"""Steps of a run, and between two validations."""

HELD_STEP = 20
"""In this step, ranks wait for the one that was lost to apply."""


class Events:
    def __init__(self, step=None, place=None, name=None):
        self.planned, self.name = (step, place), name

    def at(self, step, place):
        if (step, place) == self.planned:
            os.kill(os.getpid(), getattr(signal, self.name))


class EventfulPoints(Points):
    def __init__(self, recipe, ranks, events, held):
        super().__init__(STEPS, recipe, 0)
        self.ranks, self.events, self.held, self.step = ranks, events, held, 0

    def batches(self, first, end, rank_samples):
        for self.step, batch in enumerate(super().batches(first, end, rank_samples), first):
            while self.held and self.step == HELD_STEP and not self.all_are_there():
                time.sleep(0.05)
            yield batch

    def all_are_there(self):
        return self.ranks.newcomers or self.ranks.size == self.ranks.launched.size

    def loss(self, network, batch):
        self.events.at(self.step, "loss")
        return super().loss(network, batch)

    def validate(self, network, ranks):
        self.events.at(self.step, "validate")
        return super().validate(network, ranks)

    def save(self, folder, network, validation, step):
        self.events.at(self.step, "save")
        super().save(folder, network, validation, step)


class Observer(TrainingObserver):
    def __init__(self, events):
        self.events = events

    def step_ended(self, times):
        self.events.at(times.step - 1, "end")


def run(job):
    folder, info = Path(job["folder"]), read_rank_info()
    recipe = fault_recipe(EVERY)
    events = Events(*job["events"].get(str(info.rank), []))
    folder.mkdir(exist_ok=True)
    elastic = join_elastic_ranks(info, "cpu", folder, folder / ".lock")
    with elastic if "RANK" in os.environ else nullcontext(SINGLE_PROCESS) as ranks:
        task = EventfulPoints(recipe, ranks, events, job.get("all"))
        checkpoint = None
        if not ranks.joins_late:
            checkpoint = ranks.attempt(lambda: ranks.broadcast(read_newest_checkpoint(folder)))
        fit(task, recipe, folder, lambda *_: None, ranks, checkpoint, Observer(events))


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
