"""The models of an evaluation, by the names that a user gives, for one scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from decametre.errors import ModelError
from decametre.superres.evaluation.degraded import predict
from decametre.superres.evaluation.results import BICUBIC, MethodInfo
from decametre.superres.models.registry import (
    DEFAULT_FAMILY,
    Model,
    families,
    load_model,
    shipped_cards,
)


@dataclass(frozen=True)
class Method:
    """A model under the label that it has in all tables."""

    label: str
    model: Model

    @property
    def info(self) -> MethodInfo:
        """What the results keep of it."""
        card = self.model.card
        return MethodInfo(self.label, card.name, card.bands_out, card.checksum)

    def predict(
        self,
        inputs: Mapping[int, Tensor],
        bands_in: Mapping[int, tuple[str, ...]],
        measured: Tensor | None = None,
    ) -> Tensor:
        """The bands that the model makes, in its own order.

        Args:
            inputs: For each GSD, (1, bands, rows, columns) of reflectance.
            bands_in: The bands of `inputs`; the model may look at fewer, in another order.
            measured: See `degraded.predict`.

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
    """Bicubic, and the models of these names that bring the bands of a scale to 10 m.

    Args:
        names: Models, families of models, or model folders; the default family without any.
        scale: 2 for the 20 m bands, 6 for the 60 m bands.
        device: Where the networks run.

    Raises:
        UnknownNameError: No such model.
        ModelError: A model cannot be loaded, or it makes the bands of another scale.
    """
    chosen: dict[str, Method] = {}
    for name in (BICUBIC, *(tuple(names) or (DEFAULT_FAMILY,))):
        method = _method(name, scale)
        chosen.setdefault(method.label, method)
    for method in chosen.values():
        method.model.network.to(device)
    return list(chosen.values())


def _method(name: str, scale: int) -> Method:
    """The model that a name stands for at this scale."""
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
    # Two folders may hold models of one name, such as two runs of one recipe: the path tells them
    # apart.
    return Method(model.card.name if fitting else str(Path(name)), model)


def _wrong_scale(name: str, made: int, asked: int) -> ModelError:
    return ModelError(
        f"model {name} makes the {10 * made} m bands, which are scored with --scale {made}; "
        f"--scale {asked} scores the {10 * asked} m bands"
    )
