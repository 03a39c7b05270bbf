"""Models by name: the shipped ones, and any folder with a card and weights.

A new architecture needs one line in `NETWORKS`, and a new model a folder under `weights/`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from decametre import model_folder
from decametre.errors import ModelError, UnknownNameError
from decametre.model_folder import CARD_NAME, check_size, load_weights
from decametre.sentinel2.bands import BAND_NAMES, FINEST_GSD, bands_at
from decametre.superres.models.adaptive import AdaptiveTrunk
from decametre.superres.models.bicubic import Bicubic
from decametre.superres.models.card import Card
from decametre.superres.models.dsen2 import DSen2
from decametre.superres.models.guided import GuidedTrunk
from decametre.superres.models.native import NativeTrunk
from decametre.superres.models.projected import Projected
from decametre.superres.models.regression import Regression
from decametre.superres.models.rsa import ResidualSelfAttention

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "bicubic": Bicubic,
    "regression": Regression,
    "native": NativeTrunk,
    "adaptive": AdaptiveTrunk,
    "guided": GuidedTrunk,
    "dsen2": DSen2,
    "rsa": ResidualSelfAttention,
}
"""Architectures. Each takes `bands_in` (number of bands for each GSD) and its own `config`, and has
the attributes `margin` and `alignment`; see `card.Card`."""

BANDS_FOR_SCALE: dict[int, dict[int, tuple[str, ...]]] = {
    2: {10: bands_at(10), 20: bands_at(20)},
    6: {10: bands_at(10), 20: bands_at(20), 60: bands_at(60)},
}
"""Input bands by scale. The 60 m bands do not improve the 20 m bands (Lanaras et al. 2018)."""

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
DEFAULT_FAMILY = "native"

USES = {
    "bicubic": "the baseline of every score; uses no finer band.",
    "regression": "regressions on the finer bands of the product itself; nothing is trained.",
    "native": "for any product; native_2x adapts to its blur.",
}
"""When to use each shipped family of models."""

UNTRAINED: dict[str, tuple[str, dict[str, Any], int]] = {
    "bicubic_2x": ("bicubic", {}, 2),
    "bicubic_6x": ("bicubic", {}, 6),
    "regression_2x": ("regression", {"radius": 6, "ridge": 1e-2}, 2),
    "regression_6x": ("regression", {"radius": 8, "ridge": 1e-3}, 6),
}
"""Models without weights: architecture, its configuration, and scale."""


class Model(NamedTuple):
    """A network with its card.

    Attributes:
        card: What the network reads and makes, and how it was trained.
        network: In evaluation mode; see `native.NativeTrunk.forward` for inputs and outputs.
    """

    card: Card
    network: nn.Module


def untrained_card(name: str, available: Collection[str] = BAND_NAMES) -> Card:
    """The card of a model without weights.

    Args:
        name: The model.
        available: The bands that it may use; at least one of them is sharpened by the model.
    """
    architecture, config, scale = UNTRAINED[name]
    by_gsd = {
        gsd: tuple(band for band in bands if band in available)
        for gsd, bands in BANDS_FOR_SCALE[scale].items()
    }
    bands_in = {gsd: bands for gsd, bands in by_gsd.items() if bands}
    card = Card(name, architecture, config, bands_in, margin=0, attribution="")
    network = build(card)
    return dataclasses.replace(card, margin=int(network.margin), alignment=int(network.alignment))  # type: ignore[arg-type]


def shipped_cards() -> dict[str, Card]:
    """The cards of the models that come with the package, by name."""
    folders = sorted(path.parent for path in WEIGHTS_FOLDER.glob(f"*/{CARD_NAME}"))
    untrained = {name: untrained_card(name) for name in UNTRAINED}
    return untrained | {folder.name: Card.read(folder) for folder in folders}


def families() -> dict[str, list[str]]:
    """The names of shipped models by family, which is the name without the scale.

    `native` contains `native_2x` and `native_6x`.
    """
    return families_of(shipped_cards())


def families_of(cards: Mapping[str, Card]) -> dict[str, list[str]]:
    """The names of these models by family; see `families`."""
    found: dict[str, list[str]] = {}
    for name, card in cards.items():
        family = name.removesuffix(f"{card.scale}x").rstrip("_-") or name
        found.setdefault(family, []).append(name)
    return found


def build(card: Card) -> nn.Module:
    """A network of the card's architecture with initial weights.

    If the card has a `projection`, a consistency layer follows the network.

    Raises:
        ModelError: The registry has no such architecture, or its configuration is invalid.
    """
    if card.architecture not in NETWORKS:
        raise ModelError(
            f"model {card.name}: unknown architecture '{card.architecture}'; "
            f"known: {', '.join(NETWORKS)}"
        )
    bands_in = {gsd: len(names) for gsd, names in card.bands_in.items()}
    try:
        network = NETWORKS[card.architecture](bands_in=bands_in, **card.config)
    except Exception as error:  # networks raise many types at sizes that do not fit
        raise ModelError(
            f"model {card.name}: configuration {dict(card.config)} is invalid for "
            f"architecture {card.architecture} ({error})"
        ) from error
    if card.projection:
        if isinstance(network, AdaptiveTrunk):
            raise ModelError(
                f"model {card.name}: architecture {card.architecture} has no projection; set it to "
                "null"
            )
        return Projected(network, card.projection, card.bands_out, card.scale)
    return network


def operations(model: Model) -> float:
    """Floating point operations of convolutions and matrix products for each 10 m pixel."""
    edge = 10 * model.card.alignment * model.card.scale  # pixels of 10 m
    inputs = {
        gsd: torch.zeros(1, len(names), edge * FINEST_GSD // gsd, edge * FINEST_GSD // gsd)
        for gsd, names in model.card.bands_in.items()
    }
    network = model.network
    if isinstance(network, AdaptiveTrunk):
        network = network.typical()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(inputs)
    return counter.get_total_flops() / edge**2


def load_folder(folder: Path) -> Model:
    """Load a model from a folder with `card.json` and `weights.safetensors`.

    Raises:
        ModelError: Card or weights are missing, damaged, or do not match.
    """
    card = Card.read(folder)
    check_size(folder, card, lambda: build(card))
    network = build(card)
    load_weights(folder, card, network)
    if card.margin < int(network.margin):  # type: ignore[arg-type]
        raise ModelError(
            f"model {card.name}: the card's margin {card.margin} is less than the network's "
            f"receptive field {network.margin}; results would depend on the tiling"
        )
    if card.alignment % int(network.alignment):  # type: ignore[arg-type]
        raise ModelError(
            f"model {card.name}: the card's alignment {card.alignment} is not a multiple of the "
            f"network's attention window {network.alignment}; results would depend on the tiling"
        )
    return Model(card, network.eval())


def untrained_model(name: str, available: Collection[str] = BAND_NAMES) -> Model:
    """A model without weights for the available bands; see `untrained_card`."""
    card = untrained_card(name, available)
    return Model(card, build(card).eval())


def load_model(name: str) -> Model:
    """Load one model by name, or from a folder.

    Raises:
        UnknownNameError: There is neither a shipped model nor a folder of this name; the message
            proposes the nearest name.
        ModelError: See `load_folder`.
    """
    if name in UNTRAINED:
        return untrained_model(name)
    # A path such as ./native_2x is the user's folder, even if a shipped model has the name.
    if name == Path(name).name and (WEIGHTS_FOLDER / name / CARD_NAME).is_file():
        return load_folder(WEIGHTS_FOLDER / name)
    if Path(name).is_dir():
        return load_folder(Path(name))
    raise UnknownNameError("model", name, [*families(), *shipped_cards()])


def models_for(bands: Iterable[str], names: Iterable[str] = ()) -> list[Model]:
    """The models that sharpen these bands to 10 m.

    Args:
        bands: Bands of the output. 10 m bands need no model.
        names: Models, families of models, or model folders. The last one that sharpens a band is
            used for it. The default family sharpens the other bands.

    Returns:
        Only models that are needed, coarsest bands last.

    Raises:
        UnknownNameError: There is no such model.
        ModelError: A model cannot be loaded.
    """
    names, wanted = list(names), set(bands) - set(bands_at(FINEST_GSD))
    family = families()
    for name in names:
        if name not in family and name not in shipped_cards() and not Path(name).is_dir():
            raise UnknownNameError("model", name, [*family, *shipped_cards()])
    chosen: list[Model] = []
    for name in (*reversed(names), DEFAULT_FAMILY):
        for member in family.get(name, [name]) if wanted else []:
            model = load_model(member)
            if wanted.intersection(model.card.bands_out):
                wanted.difference_update(model.card.bands_out)
                chosen.append(model)
    return sorted(chosen, key=lambda model: model.card.scale)


def save_model(folder: Path, card: Card, network: nn.Module) -> Card:
    """Write weights and card into a folder, which is created; they replace an earlier model.

    Args:
        folder: The model folder.
        card: The card. Margin, alignment, parameters and checksum are set from the network.
        network: The network, in float32.

    Returns:
        The card as written.
    """
    card = dataclasses.replace(
        card,
        margin=int(network.margin),  # type: ignore[arg-type]
        alignment=int(network.alignment),  # type: ignore[arg-type]
        parameters=sum(tensor.numel() for tensor in network.state_dict().values()),
    )
    return model_folder.save_model(folder, card, network)
