"""Where a run stands, in a file, so that it can go on as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from decametre.errors import TrainingError
from decametre.training.recipe import MOST_CHECKPOINTS

log = logging.getLogger(__name__)

CHECKPOINT_NAME = "last.safetensors"


@dataclass
class State:
    """All that changes while a network is trained.

    Attributes:
        network: Its weights are what the optimizer changes.
        average: Moving average of the weights: what is validated and kept.
        optimizer: Of the network's weights.
        step: Steps done.
        scores: Of all validations so far, less is better.
        kept_from: The model folder knows those from this one on; others were a folder's before.
        best: The best of those, and the weights of the model folder have it.
    """

    network: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    scores: list[float] = field(default_factory=list)
    kept_from: int = 0

    @property
    def best(self) -> float:
        """The best score so far, infinite without one."""
        return min(self.scores[self.kept_from :], default=float("inf"))


@dataclass(frozen=True)
class Origin:
    """What a run's result follows from; a run goes on with the same only.

    Attributes:
        recipe: As plain values.
        beside: What the recipe does not say, such as the precision.
    """

    recipe: dict[str, Any]
    beside: dict[str, Any]

    def difference(self, other: Origin) -> str:
        """Where the other one differs first, in words; empty where it does not.

        What is known beside the recipe of one only is not compared: earlier checkpoints lack it.
        How many processes draw patches, who computes what and how many checkpoints are kept changes
        nothing, and products count by what was found under their paths, which may be relative.
        """
        both = [key for key in self.beside if key in other.beside]
        known = "train" in both
        mine, others = self._compared(known), other._compared(known)
        return first_difference(mine, others) or first_difference(
            {key: self.beside[key] for key in both}, {key: other.beside[key] for key in both}
        )

    def _compared(self, without_paths: bool) -> dict[str, Any]:
        left_out = {"workers", "train", "validation"} if without_paths else {"workers"}
        recipe = self.recipe
        data = {key: value for key, value in recipe.get("data", {}).items() if key not in left_out}
        steps = dict(recipe.get("optimization", {}))
        if recipe.get("network", {}).get("norm") != "merged":  # whose batch norm is over it
            steps.pop("micro_batch", None)
        free = ("distribution", "checkpoints")
        kept = {key: value for key, value in recipe.items() if key not in free}
        return kept | {"data": data, "optimization": steps}


class Checkpoints:
    """The checkpoints of a run's folder: the newest, and some before it.

    Files are written by a thread of its own while training goes on, each all or nothing, with a
    checksum of its tensors. Where the newest is damaged, the one before it is taken.

    Args:
        folder: The run's folder.
        origin: What the run follows from.
        keep: How many are kept.
    """

    def __init__(self, folder: Path, origin: Origin, keep: int) -> None:
        self.folder, self.origin, self.keep = folder, origin, keep
        self.writer = ThreadPoolExecutor(1)
        self.writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.wait()
        finally:
            self.writer.shutdown()

    def save(self, state: State) -> None:
        """Write the state as it is now; what is being written still is waited for.

        Raises:
            OSError: The one before could not be written.
        """
        self.wait()
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors_of(state)}
        about = {
            "step": state.step,
            "scores": list(state.scores),
            "kept_from": state.kept_from,
            **asdict(self.origin),
        }
        self.writing = self.writer.submit(self._write, tensors, about)

    def wait(self) -> None:
        """Until all is on disk.

        Raises:
            OSError: It could not be written.
        """
        writing, self.writing = self.writing, None
        if writing is not None:
            writing.result()

    def _write(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        about["checksum"] = checksum_of(about, tensors)
        partial = self.folder / f".{CHECKPOINT_NAME}.partial"
        try:
            partial.write_bytes(save(tensors, metadata={"state": json.dumps(about)}))
            kept = [self.folder / name for name in names(self.keep)]
            for newer, older in reversed(list(pairwise(kept))):
                if newer.is_file():
                    newer.replace(older)
            partial.replace(kept[0])
            for name in names()[self.keep :]:
                (self.folder / name).unlink(missing_ok=True)
        finally:
            partial.unlink(missing_ok=True)


def names(keep: int = MOST_CHECKPOINTS) -> list[str]:
    """File names of a run's checkpoints, the newest first."""
    stem, dot, suffix = CHECKPOINT_NAME.partition(".")
    return [CHECKPOINT_NAME, *(f"{stem}-{age}{dot}{suffix}" for age in range(1, keep))]


def tensors_of(state: State) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a state, by names that `restore` knows."""
    yield from _prefixed("network", state.network.state_dict())
    yield from _prefixed("average", state.average.state_dict())
    optimizer = state.optimizer.state_dict()
    for index, moments in optimizer["state"].items():
        yield from _prefixed(f"optimizer.{index}", moments)
    for index, group in enumerate(optimizer["param_groups"]):
        # LAMB counts its steps here. All else follows from the recipe.
        counters = {key: value for key, value in group.items() if isinstance(value, Tensor)}
        yield from _prefixed(f"group.{index}", counters)


def checksum_of(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over everything in a checkpoint, as hexadecimal."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Saved:
    """A checkpoint as read.

    Attributes:
        origin: What its run follows from.
        step: Steps done.
        scores: See `State`.
        kept_from: See `State`.
        tensors: See `tensors_of`.
    """

    origin: Origin
    step: int
    scores: list[float]
    kept_from: int
    tensors: dict[str, Tensor]


def read_newest(folder: Path) -> Saved | None:
    """The newest checkpoint of a folder that is whole; None where there is none at all.

    Raises:
        TrainingError: All of them are damaged.
    """
    faults: dict[Path, TrainingError] = {}
    for path in (folder / name for name in names()):
        if not path.is_file():
            continue
        try:
            saved = read_checkpoint(path)
        except TrainingError as error:
            faults[path] = error
            continue
        for damaged, fault in faults.items():  # out of the way of the ones to come
            log.warning("%s; the one before it is taken", fault)
            damaged.replace(damaged.with_name(f"{damaged.name}.damaged"))
        return saved
    for fault in faults.values():
        raise fault
    return None


def read_checkpoint(path: Path) -> Saved:
    """Read one checkpoint.

    Raises:
        TrainingError: It is damaged.
    """
    with _reading(path), safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no iterator
        checksum = about.pop("checksum", None)  # earlier versions had none
        if checksum is not None and checksum != checksum_of(about, tensors):
            raise ValueError("its checksum is another")
        return Saved(
            Origin(dict(about["recipe"]), dict(about.get("beside", {}))),
            int(about["step"]),
            list(about["scores"]),
            int(about.get("kept_from", 0)),
            tensors,
        )


def restore(state: State, saved: Saved) -> None:
    """Bring a state to where a run stood.

    Args:
        state: Of a run that has not begun; its tensors are overwritten.
        saved: A checkpoint of the same network and optimizer.

    Raises:
        TrainingError: It is of another network or optimizer.
    """
    tensors = saved.tensors
    moments, counters = _numbered("optimizer", tensors), _numbered("group", tensors)
    groups = [
        group | counters.get(index, {})
        for index, group in enumerate(state.optimizer.state_dict()["param_groups"])
    ]
    try:
        state.network.load_state_dict(_stripped("network", tensors))
        state.average.load_state_dict(_stripped("average", tensors))
        state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the checkpoint is of another network ({error})") from error
    state.step, state.scores = saved.step, list(saved.scores)
    state.kept_from = saved.kept_from


def check_same(was: Origin, now: Origin, folder: Path) -> None:
    """Refuse to go on with another run's state.

    Raises:
        TrainingError: They differ.
    """
    difference = was.difference(now)
    if difference:
        raise TrainingError(
            f"{folder} holds another run: {difference}; give another folder, or the same as before "
            "to go on"
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(f"{path}: not a checkpoint ({error}); give another folder") from error


def first_difference(was: Any, now: Any, place: str = "") -> str:
    """Where two recipes differ first, in words; empty where they do not."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in [*was, *(key for key in now if key not in was)]:
            found = first_difference(was.get(key), now.get(key), f"{place}.{key}".lstrip("."))
            if found:
                return found
        return ""
    return "" if was == now else f"{place} was {was!r:.60} and is now {now!r:.60}"


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((f"{prefix}.{name}", tensor.contiguous()) for name, tensor in tensors.items())


def _stripped(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def _numbered(prefix: str, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _stripped(prefix, tensors).items():
        index, _, key = name.partition(".")
        found.setdefault(int(index), {})[key] = tensor
    return found
