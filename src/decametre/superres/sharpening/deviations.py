"""The networks that predict the uncertainty of a sharpened product (`--uncertainty`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from decametre.errors import ModelError
from decametre.sentinel2.radiometry import Radiometry
from decametre.superres.models.registry import WEIGHTS_FOLDER, Model
from decametre.superres.models.uncertainty import Uncertainty, load_uncertainty


def load_uncertainties(models: Sequence[Model], names: Sequence[str]) -> dict[str, Uncertainty]:
    """The networks that predict the uncertainty of models, by the name of the model.

    Args:
        models: Networks, of which those without weights (bicubic and regressions) have none.
        names: Models by name or folder as the user gave them.

    Raises:
        ModelError: A trained model has none, or it is damaged; or no model is trained.
    """
    trained = [model.card for model in models if model.card.checksum]
    if not trained:
        raise ModelError(
            "--uncertainty: bands of 10 m, bicubic interpolation and regressions have no "
            "uncertainty, and no other model is used; remove it"
        )
    folders = [Path(name) for name in names]
    return {
        card.name: load_uncertainty(card, [WEIGHTS_FOLDER / card.name, *folders])
        for card in trained
    }


def deviation_radiometry(
    uncertainties: Mapping[str, Uncertainty], radiometry: Mapping[str, Radiometry]
) -> dict[str, Radiometry]:
    """Radiometry of the standard deviations, by band.

    Args:
        uncertainties: From `load_uncertainties`.
        radiometry: Radiometry of the bands of the output.
    """
    known = {name for uncertainty in uncertainties.values() for name in uncertainty.card.factors}
    return {name: replace(band, offset=0.0) for name, band in radiometry.items() if name in known}
