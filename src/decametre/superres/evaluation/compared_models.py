"""The models that an evaluation compares, for one scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from decametre.errors import ModelError
from decametre.superres.evaluation.results import BICUBIC, MethodInfo
from decametre.superres.models.prediction import predict
from decametre.superres.models.registry import (
    DEFAULT_FAMILY,
    Model,
    families,
    load_model,
    shipped_cards,
)


@dataclass(frozen=True)
class Method:
    """A model and its label in all tables."""

    label: str
    model: Model

    @property
    def info(self) -> MethodInfo:
        """The method as described in results."""
        card = self.model.card
        return MethodInfo(self.label, card.name, card.bands_out, card.checksum)

    def predict(
        self,
        inputs: Mapping[int, Tensor],
        bands_in: Mapping[int, tuple[str, ...]],
        measured: Tensor | None = None,
    ) -> Tensor:
        """Predict the model's output bands, in its own order.

        Args:
            inputs: For each GSD, (1, bands, rows, columns) of reflectance.
            bands_in: The bands of `inputs`, which the model may use partly and in another order.
            measured: See `prediction.predict`.

        Returns:
            (bands, rows, columns), float32.
        """
        card = self.model.card
        own = {
            gsd: inputs[gsd][:, [bands_in[gsd].index(name) for name in names]]
            for gsd, names in card.bands_in.items()
        }
        network = self.model.network
        return predict(network, own, card.margin, card.alignment, measured=measured)[0]


def methods_for(names: Iterable[str], scale: int, device: torch.device) -> list[Method]:
    """Bicubic interpolation, and the models of these names for a scale.

    Args:
        names: Models, families of models, or model folders; the default family if empty.
        scale: 2 for the 20 m bands, 6 for the 60 m bands.
        device: Device of the networks.

    Raises:
        UnknownNameError: There is no such model.
        ModelError: A model cannot be loaded, or it sharpens the bands of another scale.
    """
    chosen: dict[str, Method] = {}
    for name in (BICUBIC, *(tuple(names) or (DEFAULT_FAMILY,))):
        method = _method(name, scale)
        chosen.setdefault(method.label, method)
    for method in chosen.values():
        method.model.network.to(device)
    return list(chosen.values())


def _method(name: str, scale: int) -> Method:
    """The model of this name, or the member of this family, for a scale."""
    cards, family = shipped_cards(), families()
    members = [member for member in family.get(name, [name]) if member in cards]
    fitting = [member for member in members if cards[member].scale == scale]
    if members and not fitting:
        raise _wrong_scale(name, cards[members[0]].scale, scale)
    model = load_model(fitting[0] if fitting else name)
    if model.card.scale != scale:
        raise _wrong_scale(name, model.card.scale, scale)
    if model.card.architecture == BICUBIC:
        return Method(BICUBIC, model)
    # Two folders may contain models of one name, such as two runs of a recipe, so a folder's label
    # is its path.
    return Method(model.card.name if fitting else str(Path(name)), model)


def _wrong_scale(name: str, of_model: int, requested: int) -> ModelError:
    return ModelError(
        f"model {name} sharpens the {10 * of_model} m bands, but --scale {requested} scores the "
        f"{10 * requested} m bands; give --scale {of_model}"
    )
