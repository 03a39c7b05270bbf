"""What the folders of all models have in common: a card beside the weights.

A card is a STAC item with the Machine Learning Model extension (MLM). It stands beside the
weights (safetensors, no pickle) and carries their checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from decametre.errors import ModelError

CARD_NAME = "card.json"
WEIGHTS_NAME = "weights.safetensors"
STAC_EXTENSIONS = [
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
]
LICENSE = "Apache-2.0"
ATTRIBUTION = "contains modified Copernicus Sentinel data"


def stac_item(name: str, checksum: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """A card as a STAC item.

    Args:
        name: Of the model.
        checksum: SHA-256 of the weights as hexadecimal; empty where there are none.
        properties: Of the item.
    """
    weights = {
        "href": f"./{WEIGHTS_NAME}",
        "type": "application/octet-stream; application=safetensors",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors.torch.save_file",
        "file:checksum": f"1220{checksum}",
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": STAC_EXTENSIONS,
        "id": name,
        "geometry": None,
        "properties": {"mlm:name": name, "mlm:framework": "pytorch", **properties},
        "links": [],
        "assets": {"weights": weights} if checksum else {},
    }


def checksum_in(item: Mapping[str, Any]) -> str:
    """The checksum of the weights that a card describes; empty where there are none."""
    found: str = item["assets"].get("weights", {}).get("file:checksum", "")
    return found.removeprefix("1220")


def tensor(name: str, bands: Sequence[str]) -> dict[str, Any]:
    """An MLM input: a batch of images with any number of rows and columns."""
    return {
        "name": name,
        "bands": list(bands),
        "input": {
            "shape": [-1, len(bands), -1, -1],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "description": "surface or top-of-atmosphere reflectance, offset applied, order of 1",
    }


def read_item(path: Path, task: str) -> dict[str, Any]:
    """Read `card.json` as it stands.

    Args:
        path: The file.
        task: What the model must be for.

    Raises:
        ModelError: There is none, it is no card, or of a model for another task.
    """
    try:
        item: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tasks = item["properties"]["mlm:tasks"]
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent}: no {CARD_NAME} there; give a model folder") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error})") from error
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not a decametre model card ({type(error).__name__}: {error})"
        ) from error
    if task not in tasks:
        raise ModelError(f"{path}: a model for {', '.join(tasks)}; give one for {task}")
    return item


def write_folder(folder: Path, weights: bytes, item: Mapping[str, Any]) -> None:
    """Write a model's weights and card, in place of an earlier model there.

    Args:
        folder: The model folder, which is made.
        weights: Content of the weights file.
        item: The card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Both are on disk before the earlier model goes.
    contents = {WEIGHTS_NAME: weights, CARD_NAME: _text(item).encode()}
    partial = {name: folder / f".{name}.partial" for name in contents}
    try:
        for name, content in contents.items():
            partial[name].write_bytes(content)
        for name, path in partial.items():
            path.replace(folder / name)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def write_card(folder: Path, item: Mapping[str, Any]) -> None:
    """Write a card in place of an earlier one; the weights stay.

    Raises:
        ModelError: It cannot be written.
    """
    path, partial = folder / CARD_NAME, folder / f".{CARD_NAME}.partial"
    try:
        partial.write_text(_text(item), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)


def packed(network: nn.Module) -> tuple[bytes, str]:
    """A network's weights as safetensors, and their SHA-256 as hexadecimal."""
    state = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    weights = save(state)
    return weights, hashlib.sha256(weights).hexdigest()


def load_weights(folder: Path, name: str, checksum: str, network: nn.Module) -> None:
    """Load a folder's weights into a network.

    Args:
        folder: The model folder.
        name: Of the model, for messages.
        checksum: That the card has.
        network: As the card describes it.

    Raises:
        ModelError: They are missing, damaged, or of another network.
    """
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        raise ModelError(f"model {name}: {weights} is missing")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != checksum:
        raise ModelError(
            f"model {name}: {weights} is not the file that its card describes (SHA-256 differs); "
            "restore both from one source"
        )
    try:
        network.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"model {name}: the card does not fit the weights: {error}") from error


def _text(item: Mapping[str, Any]) -> str:
    return json.dumps(item, indent=1) + "\n"
