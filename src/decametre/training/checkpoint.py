"""Where a run stands, in one file, so that it can go on as if it had never stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from decametre.errors import TrainingError
from decametre.training.recipe import completed

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
        best: The best of them, and the weights of the model folder have it.
    """

    network: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    scores: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The best score so far, infinite without one."""
        return min(self.scores, default=float("inf"))


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
        A key that a recipe lacks is at its default, for the same reason.
        How many processes draw patches changes nothing, and products count by what was found
        under their paths, which may be relative.
        """
        both = [key for key in self.beside if key in other.beside]
        known = "train" in both
        mine, others = self._compared(known), other._compared(known)
        return first_difference(mine, others) or first_difference(
            {key: self.beside[key] for key in both}, {key: other.beside[key] for key in both}
        )

    def _compared(self, without_paths: bool) -> dict[str, Any]:
        left_out = {"workers", "train", "validation"} if without_paths else {"workers"}
        recipe = completed(self.recipe)
        data = recipe.get("data", {})
        return {**recipe, "data": {k: v for k, v in data.items() if k not in left_out}}


def save_state(state: State, folder: Path, origin: Origin) -> None:
    """Write the state into the folder, in place of an earlier one, all or nothing."""
    tensors = {
        **_prefixed("network", state.network.state_dict()),
        **_prefixed("average", state.average.state_dict()),
    }
    optimizer = state.optimizer.state_dict()
    for index, moments in optimizer["state"].items():
        tensors |= _prefixed(f"optimizer.{index}", moments)
    for index, group in enumerate(optimizer["param_groups"]):
        # LAMB counts its steps here. All else follows from the recipe.
        counters = {key: value for key, value in group.items() if isinstance(value, Tensor)}
        tensors |= _prefixed(f"group.{index}", counters)
    partial = folder / f".{CHECKPOINT_NAME}.partial"
    about = {"step": state.step, "scores": state.scores, **asdict(origin)}
    try:
        partial.write_bytes(save(tensors, metadata={"state": json.dumps(about)}))
        partial.replace(folder / CHECKPOINT_NAME)
    finally:
        partial.unlink(missing_ok=True)


def origin_of(folder: Path) -> Origin | None:
    """What the run in a folder follows from; None where nothing was saved.

    Raises:
        TrainingError: The checkpoint is damaged.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        return None
    with _reading(path), safe_open(path, framework="pt") as file:
        return _origin_in(json.loads(file.metadata()["state"]))


def load_state(state: State, folder: Path, origin: Origin) -> bool:
    """Bring the state to where the folder's run stood.

    Args:
        state: Of a run that has not begun; its tensors are overwritten.
        folder: The run's folder.
        origin: What the run is to follow from; must be what it followed from.

    Returns:
        Whether there was anything to go on from.

    Raises:
        TrainingError: The checkpoint is damaged, or belongs to another run.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        return False
    with _reading(path):
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no iterator
        check_same(_origin_in(about), origin, folder)
        state.network.load_state_dict(_stripped("network", tensors))
        state.average.load_state_dict(_stripped("average", tensors))
        moments, counters = _numbered("optimizer", tensors), _numbered("group", tensors)
        groups = [
            group | counters.get(index, {})
            for index, group in enumerate(state.optimizer.state_dict()["param_groups"])
        ]
        state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        state.step, state.scores = about["step"], about["scores"]
    return True


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


def _origin_in(about: dict[str, Any]) -> Origin:
    return Origin(dict(about["recipe"]), dict(about.get("beside", {})))


def first_difference(was: Any, now: Any, place: str = "") -> str:
    """Where two recipes differ first, in words; empty where they do not."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in [*was, *(key for key in now if key not in was)]:
            found = first_difference(was.get(key), now.get(key), f"{place}.{key}".lstrip("."))
            if found:
                return found
        return ""
    return "" if was == now else f"{place} was {was!r:.60} and is now {now!r:.60}"


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor.contiguous() for name, tensor in tensors.items()}


def _stripped(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def _numbered(prefix: str, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _stripped(prefix, tensors).items():
        index, _, key = name.partition(".")
        found.setdefault(int(index), {})[key] = tensor
    return found
