"""Folders of models: a card (`card.json`) and weights (`weights.safetensors`).

A card is a STAC item with the Machine Learning Model extension (MLM), and holds the checksum of the
weights. `ModelCard` is the base of the cards of both kinds of network.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import KW_ONLY, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from decametre.errors import ModelError
from decametre.files import read_json, replacing

CARD_NAME = "card.json"
WEIGHTS_NAME = "weights.safetensors"
STAC_EXTENSIONS = [
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
]
LICENSE = "Apache-2.0"
ATTRIBUTION = "contains modified Copernicus Sentinel data"

SHA256 = "1220"
"""Multihash prefix of a SHA-256."""

MAX_CONFIG_NUMBER = 4096
"""Largest number in the configuration of a network that is loaded, such as a width."""

STRICT = ConfigDict(strict=True)
"""Values of a card are not converted from other types."""


@dataclass(frozen=True, config=STRICT)
class ModelCard:
    """What the cards of all networks have in common.

    Attributes:
        name: Name of the model, such as `native_2x`.
        architecture: Name of the network's architecture.
        config: Arguments of the architecture.
        bands_in: Band names for each GSD in metres, in the order of the network's channels.
        training: How the network was trained: kernel, scenes, steps, and so on.
        scores: Scores, and the data that they were measured on.
        datetime: When the weights were made, ISO 8601.
        attribution: Source of the training data.
        license: SPDX identifier.
        parameters: Number of weights.
        checksum: SHA-256 of the weights file as hexadecimal; empty for a model without weights.
    """

    TASK: ClassVar[str]
    """The model's task in MLM's vocabulary."""

    PROPERTIES: ClassVar[tuple[str, ...]]
    """Properties of the item that begin with `decametre:`, in their order."""

    ADDED_LATER: ClassVar[frozenset[str]] = frozenset()
    """Those of them that older cards lack."""

    name: str
    architecture: str
    config: Mapping[str, Any]
    bands_in: Mapping[int, tuple[str, ...]]
    _: KW_ONLY
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    datetime: str = "2026-01-01T00:00:00Z"
    attribution: str = ATTRIBUTION
    license: str = LICENSE
    parameters: int = 0
    checksum: str = ""

    @property
    def description(self) -> str:
        """What the model does, in one line."""
        raise NotImplementedError

    @property
    def output(self) -> dict[str, Any]:
        """The network's output as an MLM output, without its task."""
        raise NotImplementedError

    def weights_asset(
        self, name: str, application: str, artifact: str, checksum: str
    ) -> dict[str, Any]:
        """The asset of a file with the network's weights.

        Args:
            name: Name of the file, next to the item.
            application: The format in the media type.
            artifact: The format as `mlm:artifact_type`.
            checksum: SHA-256 of the file, hexadecimal.
        """
        return {
            "href": f"./{name}",
            "type": f"application/octet-stream; application={application}",
            "roles": ["mlm:model", "mlm:weights"],
            "mlm:artifact_type": artifact,
            "file:checksum": f"{SHA256}{checksum}",
            # MLM requires a definition of the bands that inputs name.
            "eo:bands": [{"name": name} for names in self.bands_in.values() for name in names],
        }

    def to_stac(self) -> dict[str, Any]:
        """The card as a STAC item with the MLM extension."""
        values = TypeAdapter(type(self)).dump_python(self, mode="json")
        output = self.output
        weights = self.weights_asset(
            WEIGHTS_NAME, "safetensors", "safetensors.torch.save_file", self.checksum
        )
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": STAC_EXTENSIONS,
            "id": self.name,
            "geometry": None,
            "properties": {
                "datetime": self.datetime,
                "description": self.description,
                "license": self.license,
                "attribution": self.attribution,
                "mlm:name": self.name,
                "mlm:architecture": self.architecture,
                "mlm:tasks": [self.TASK],
                "mlm:framework": "pytorch",
                "mlm:total_parameters": self.parameters,
                "mlm:input": [
                    {
                        "name": f"reflectance_{gsd}m",
                        "bands": list(names),
                        "input": image_batch(len(names)),
                        "description": (
                            "surface or top-of-atmosphere reflectance, offset applied, order of 1"
                        ),
                    }
                    for gsd, names in self.bands_in.items()
                ],
                "mlm:output": [{"name": output.pop("name"), "tasks": [self.TASK], **output}],
                **{
                    f"decametre:{key}": values.get(key, getattr(self, key))
                    for key in self.PROPERTIES
                },
            },
            "links": [],
            "assets": {"weights": weights} if self.checksum else {},
        }

    @classmethod
    def from_stac(cls, item: Mapping[str, Any], where: str) -> Self:
        """Read a card.

        Args:
            item: The STAC item.
            where: File of the item, for messages.

        Raises:
            ModelError: A field is missing or invalid.
        """
        try:
            properties, fields = item["properties"], {each.name for each in dataclasses.fields(cls)}
            values = {
                "name": item["id"],
                "architecture": properties["mlm:architecture"],
                "parameters": properties["mlm:total_parameters"],
                "checksum": item["assets"]
                .get("weights", {})
                .get("file:checksum", "")
                .removeprefix(SHA256),
                **{key: properties[key] for key in ("datetime", "attribution", "license")},
                **{
                    key: properties[f"decametre:{key}"]
                    for key in cls.PROPERTIES
                    if key in fields
                    and (key not in cls.ADDED_LATER or f"decametre:{key}" in properties)
                },
                **cls.read_output(properties["mlm:output"][0]),
            }
            values["bands_in"] = dict(sorted(values["bands_in"].items(), key=lambda x: int(x[0])))
            # As JSON, in which keys are text and tuples are lists.
            return TypeAdapter(cls).validate_json(json.dumps(values))
        except ValidationError as error:
            fault = error.errors()[0]
            place, reason = ".".join(map(str, fault["loc"])), fault["msg"]
            if place:
                reason = f"{place}: {reason}, not {fault['input']!r:.60}"
            raise ModelError(f"{where}: not a valid model card ({reason})") from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ModelError(
                f"{where}: not a decametre model card ({type(error).__name__}: {error})"
            ) from error

    @classmethod
    def read_output(cls, output: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of the card that are stored in its MLM output."""
        return {}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the card of a model folder.

        Raises:
            ModelError: There is no card, or it is invalid or of a model for another task.
        """
        path = folder / CARD_NAME
        return cls.from_stac(read_item(path, cls.TASK), str(path))


CardT = TypeVar("CardT", bound=ModelCard)


def image_batch(bands: int) -> dict[str, Any]:
    """Shape of a batch of images with any number of rows and columns, in MLM's terms."""
    return {
        "shape": [-1, bands, -1, -1],
        "dim_order": ["batch", "bands", "height", "width"],
        "data_type": "float32",
    }


def read_item(path: Path, task: str) -> dict[str, Any]:
    """Read the STAC item of a card.

    Args:
        path: The file.
        task: Required task of the model.

    Raises:
        ModelError: There is no card, or it is of a model for another task.
    """
    try:
        item: dict[str, Any] = read_json(path)
        tasks = [str(each) for each in item["properties"]["mlm:tasks"]]
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


def item_text(item: Mapping[str, Any]) -> str:
    """Content of `card.json`."""
    return json.dumps(item, indent=1) + "\n"


def save_model(folder: Path, card: CardT, network: nn.Module) -> CardT:
    """Write weights and card into a folder, which is created; they replace an earlier model.

    Args:
        folder: The model folder.
        card: The card; its checksum is computed here.
        network: The network, in float32.

    Returns:
        The card as written.
    """
    weights = save({key: value.contiguous().cpu() for key, value in network.state_dict().items()})
    card = dataclasses.replace(card, checksum=hashlib.sha256(weights).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    _replace_files(folder, {CARD_NAME: item_text(card.to_stac()).encode(), WEIGHTS_NAME: weights})
    return card


def write_item(folder: Path, item: Mapping[str, Any]) -> None:
    """Replace the card of a model folder; the weights remain.

    Raises:
        ModelError: The card cannot be written.
    """
    try:
        _replace_files(folder, {CARD_NAME: item_text(item).encode()})
    except OSError as error:
        raise ModelError(f"{folder / CARD_NAME}: cannot be written ({error.strerror})") from error


def _replace_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Replace files of a folder, in reverse order, after all have been written."""
    with ExitStack() as stack:
        for name, content in contents.items():
            stack.enter_context(replacing(folder / name)).write_bytes(content)


def check_size(folder: Path, card: ModelCard, build: Callable[[], nn.Module]) -> None:
    """Check that a card describes a network of the size of its weights, before it takes memory.

    Args:
        folder: The model folder.
        card: Its card.
        build: Builds the network that the card describes.

    Raises:
        ModelError: The network is larger than the weights file.
    """
    for number in _numbers(card.config):
        if abs(number) > MAX_CONFIG_NUMBER:
            raise ModelError(
                f"model {card.name}: the card's config has {number:g}, above {MAX_CONFIG_NUMBER}; "
                "correct it"
            )
    try:
        with torch.device("meta"):  # no memory is taken
            state = build().state_dict().values()
    except (RuntimeError, NotImplementedError):  # a network that cannot be built without memory
        return
    needed = sum(tensor.numel() * tensor.element_size() for tensor in state)
    weights = folder / WEIGHTS_NAME
    if weights.is_file() and needed > (size := weights.stat().st_size):
        raise ModelError(
            f"model {card.name}: the card does not fit the weights: it describes a network of "
            f"{needed} bytes, but {weights} has {size}; restore both from one source"
        )


def _numbers(value: Any) -> Iterator[float]:
    """All numbers in a tree of plain values."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float):
        yield value


def load_weights(folder: Path, card: ModelCard, network: nn.Module) -> None:
    """Load the weights of a model folder into a network.

    Args:
        folder: The model folder.
        card: Its card.
        network: A network as the card describes it.

    Raises:
        ModelError: The weights are missing, damaged, or of another network.
    """
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        raise ModelError(f"model {card.name}: {weights} is missing")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != card.checksum:
        raise ModelError(
            f"model {card.name}: {weights} is not the file that its card describes (SHA-256 "
            "differs); restore both from one source"
        )
    try:
        network.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        message = f"model {card.name}: the card does not fit the weights: {error}"
        raise ModelError(message) from error
