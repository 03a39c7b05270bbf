"""Where a run stands, in one file, so that it can go on as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from decametre.errors import TrainingError

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


def save_state(state: State, folder: Path, recipe: dict[str, Any]) -> None:
    """Write the state into the folder, in place of an earlier one, all or nothing."""
    tensors = {
        **_prefixed("network", state.network.state_dict()),
        **_prefixed("average", state.average.state_dict()),
    }
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= _prefixed(f"optimizer.{index}", moments)
    partial = folder / f".{CHECKPOINT_NAME}.partial"
    about = {"step": state.step, "scores": state.scores, "recipe": recipe}
    save_file(tensors, partial, metadata={"state": json.dumps(about)})
    partial.replace(folder / CHECKPOINT_NAME)


def load_state(state: State, folder: Path, recipe: dict[str, Any]) -> bool:
    """Bring the state to where the folder's run stood.

    Args:
        state: Of a run that has not begun; its tensors are overwritten.
        folder: The run's folder.
        recipe: What the run is to be; must be what it was.

    Returns:
        Whether there was anything to go on from.

    Raises:
        TrainingError: The checkpoint is damaged, or belongs to another recipe.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no iterator
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: not a checkpoint ({error}); give another folder") from error
    difference = first_difference(about["recipe"], recipe)
    if difference:
        raise TrainingError(
            f"{folder} holds a run of another recipe: {difference}; give another folder, or the "
            "same recipe to go on"
        )
    state.network.load_state_dict(_stripped("network", tensors))
    state.average.load_state_dict(_stripped("average", tensors))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _stripped("optimizer", tensors).items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = tensor
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    state.step, state.scores = about["step"], about["scores"]
    return True


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
