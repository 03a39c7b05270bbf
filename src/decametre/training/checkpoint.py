"""Checkpoints: the state of a training run in a file, from which the run is resumed exactly."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from decametre.errors import TrainingError
from decametre.files import parse_json, replacing
from decametre.training.recipe import MAX_CHECKPOINTS

log = logging.getLogger(__name__)

CHECKPOINT_NAME = "last.safetensors"


@dataclass
class TrainingState:
    """Everything that changes while a network is trained.

    Attributes:
        network: The network that the optimizer updates.
        average: Moving average of its weights: what is validated and saved as the model.
        optimizer: Optimizer of the network's weights.
        step: Completed steps.
        scores: Scores of all validations so far; lower is better.
        kept_from: Index of the first score that belongs to the model in this folder; earlier scores
            are those of the folder that the run was started from.
    """

    network: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    scores: list[float] = field(default_factory=list)
    kept_from: int = 0

    @property
    def best(self) -> float:
        """The score of the model in this folder; infinite if there is none yet."""
        return min(self.scores[self.kept_from :], default=float("inf"))


@dataclass(frozen=True)
class RunInputs:
    """Everything that a run's result depends on. A run is only resumed with equal inputs.

    Attributes:
        recipe: The recipe as plain values.
        extra: Inputs that the recipe does not contain, such as the precision.
    """

    recipe: dict[str, Any]
    extra: dict[str, Any]

    def difference(self, other: RunInputs) -> str:
        """The first difference to other inputs, as text; empty if they are equivalent.

        Not compared are extra inputs that only one side has, because earlier versions saved fewer;
        settings without influence on the result (workers, distribution, number of checkpoints);
        and paths of the data if their identifiers are known.
        """
        both = [key for key in self.extra if key in other.extra]
        known = "train" in both
        mine, others = self._compared(known), other._compared(known)
        return first_difference(mine, others) or first_difference(
            {key: self.extra[key] for key in both}, {key: other.extra[key] for key in both}
        )

    def _compared(self, without_paths: bool) -> dict[str, Any]:
        excluded = {"workers", "train", "validation"} if without_paths else {"workers"}
        recipe = self.recipe
        data = {key: value for key, value in recipe.get("data", {}).items() if key not in excluded}
        steps = dict(recipe.get("optimization", {}))
        # Only merged batch norm normalises over a micro-batch.
        if recipe.get("network", {}).get("norm") != "merged":
            steps.pop("micro_batch", None)
        others = {k: v for k, v in recipe.items() if k not in ("distribution", "checkpoints")}
        return others | {"data": data, "optimization": steps}


class CheckpointWriter:
    """Writes the checkpoints of a run: the newest one and a number of earlier ones.

    A separate thread writes the files while training continues. Each file appears complete or not
    at all, and has a checksum of its tensors. If the newest one is damaged, the run is resumed from
    the one before.

    Args:
        folder: The run's folder.
        inputs: The inputs of the run.
        keep: How many checkpoints are kept.
    """

    def __init__(self, folder: Path, inputs: RunInputs, keep: int) -> None:
        self.folder, self.inputs, self.keep = folder, inputs, keep
        self.writer = ThreadPoolExecutor(1)
        self.writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.wait()
        finally:
            self.writer.shutdown()

    def save(self, state: TrainingState) -> None:
        """Start to write the present state, after the previous checkpoint is complete.

        Raises:
            OSError: The previous checkpoint could not be written.
        """
        self.wait()
        saved = snapshot(state, self.inputs)
        metadata = {
            "step": saved.step,
            "scores": saved.scores,
            "kept_from": saved.kept_from,
            "recipe": saved.inputs.recipe,
            "beside": saved.inputs.extra,
        }
        self.writing = self.writer.submit(self._write, saved.tensors, metadata)

    def wait(self) -> None:
        """Wait until the latest checkpoint is written.

        Raises:
            OSError: It could not be written.
        """
        writing, self.writing = self.writing, None
        if writing is not None:
            writing.result()

    def _write(self, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        metadata["checksum"] = checksum_of(metadata, tensors)
        kept = [self.folder / name for name in checkpoint_names(self.keep)]
        with replacing(kept[0]) as partial:
            partial.write_bytes(save(tensors, metadata={"state": json.dumps(metadata)}))
            for newer, older in reversed(list(pairwise(kept))):
                if newer.is_file():
                    newer.replace(older)
        for name in checkpoint_names()[self.keep :]:
            (self.folder / name).unlink(missing_ok=True)


def checkpoint_names(keep: int = MAX_CHECKPOINTS) -> list[str]:
    """File names of a run's checkpoints, newest first."""
    stem, dot, suffix = CHECKPOINT_NAME.partition(".")
    return [CHECKPOINT_NAME, *(f"{stem}-{age}{dot}{suffix}" for age in range(1, keep))]


def state_tensors(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a state, with the names that `restore_state` reads."""
    yield from _add_prefix("network", state.network.state_dict())
    yield from _add_prefix("average", state.average.state_dict())
    optimizer = state.optimizer.state_dict()
    for index, moments in optimizer["state"].items():
        yield from _add_prefix(f"optimizer.{index}", moments)
    for index, group in enumerate(optimizer["param_groups"]):
        # LAMB counts its steps in a tensor of the group. All other values follow from the recipe.
        counters = {key: value for key, value in group.items() if isinstance(value, Tensor)}
        yield from _add_prefix(f"group.{index}", counters)


def checksum_of(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over everything in a checkpoint, as hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        inputs: The inputs of the run.
        step: Completed steps.
        scores: See `TrainingState`.
        kept_from: See `TrainingState`.
        tensors: See `state_tensors`.
    """

    inputs: RunInputs
    step: int
    scores: list[float]
    kept_from: int
    tensors: dict[str, Tensor]


def snapshot(state: TrainingState, inputs: RunInputs) -> Checkpoint:
    """A copy of a state, on the CPU."""
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in state_tensors(state)}
    return Checkpoint(inputs, state.step, list(state.scores), state.kept_from, tensors)


def read_newest_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest undamaged checkpoint of a folder; None if there is no checkpoint at all.

    Damaged checkpoints are renamed, so that the next ones do not replace a good one.

    Raises:
        TrainingError: All checkpoints are damaged.
    """
    faults: dict[Path, TrainingError] = {}
    for path in (folder / name for name in checkpoint_names()):
        if not path.is_file():
            continue
        try:
            checkpoint = read_checkpoint(path)
        except TrainingError as error:
            faults[path] = error
            continue
        for damaged, fault in faults.items():
            log.warning("%s; using the checkpoint before it", fault)
            damaged.replace(damaged.with_name(f"{damaged.name}.damaged"))
        return checkpoint
    for fault in faults.values():
        raise fault
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        TrainingError: The file is damaged.
    """
    with _checkpoint_errors(path), safe_open(path, framework="pt") as file:
        metadata = parse_json(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no iterator
        checksum = metadata.pop("checksum", None)  # earlier versions wrote none
        if checksum is not None and checksum != checksum_of(metadata, tensors):
            raise ValueError("its checksum does not match its content")
        return Checkpoint(
            RunInputs(dict(metadata["recipe"]), dict(metadata.get("beside", {}))),
            int(metadata["step"]),
            list(metadata["scores"]),
            int(metadata.get("kept_from", 0)),
            tensors,
        )


def restore_state(state: TrainingState, checkpoint: Checkpoint) -> None:
    """Set a state to that of a checkpoint.

    Args:
        state: State of a new run; its tensors are overwritten.
        checkpoint: Checkpoint of the same network and optimizer.

    Raises:
        TrainingError: The checkpoint has another network or optimizer.
    """
    tensors = checkpoint.tensors
    moments, counters = _select_numbered("optimizer", tensors), _select_numbered("group", tensors)
    groups = [
        group | counters.get(index, {})
        for index, group in enumerate(state.optimizer.state_dict()["param_groups"])
    ]
    try:
        state.network.load_state_dict(_select_prefix("network", tensors))
        state.average.load_state_dict(_select_prefix("average", tensors))
        state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the checkpoint belongs to another network ({error})") from error
    state.step, state.scores = checkpoint.step, list(checkpoint.scores)
    state.kept_from = checkpoint.kept_from


def check_same_run(was: RunInputs, now: RunInputs, folder: Path) -> None:
    """Check that a run can be resumed with its present inputs.

    Raises:
        TrainingError: They differ from those of the checkpoint.
    """
    difference = was.difference(now)
    if difference:
        raise TrainingError(
            f"{folder} holds another run: {difference}; use another folder, or resume this run "
            "with its previous inputs"
        )


@contextmanager
def _checkpoint_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        *(OSError, SafetensorError, RuntimeError),
        *(ValueError, KeyError, TypeError, AttributeError, OverflowError),
    ) as error:
        raise TrainingError(f"{path}: not a checkpoint ({error}); use another folder") from error


def first_difference(was: Any, now: Any, key: str = "") -> str:
    """The first difference between two trees of plain values, as text; empty if there is none."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in [*was, *(name for name in now if name not in was)]:
            found = first_difference(was.get(name), now.get(name), f"{key}.{name}".lstrip("."))
            if found:
                return found
        return ""
    return "" if was == now else f"{key} was {was!r:.60} and is now {now!r:.60}"


def _add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((f"{prefix}.{name}", tensor.contiguous()) for name, tensor in tensors.items())


def _select_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def _select_numbered(prefix: str, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _select_prefix(prefix, tensors).items():
        index, _, key = name.partition(".")
        found.setdefault(int(index), {})[key] = tensor
    return found
