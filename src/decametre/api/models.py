"""Load a model, and exchange models with other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from decametre.api.keywords import takes
from decametre.landcover.options import ImportModelOptions
from decametre.options import PathLike
from decametre.superres.export.options import ExportOptions

if TYPE_CHECKING:
    from decametre.landcover.models.card import LandCoverCard
    from decametre.superres.models.registry import Model


def load_model(name: PathLike) -> Model:
    """Load a super-resolution model for use in your own code.

    `card, network = decametre.load_model("native_2x")`: the card states bands, margin and scale.
    The network is a `torch.nn.Module` in evaluation mode. It takes `{gsd: reflectance}`, one tensor
    (batch, bands, rows, columns) for each GSD in `card.bands_in`, all of the same ground, and
    returns the bands `card.bands_out` at 10 m. See docs/models.md.

    Args:
        name: Name of a shipped model, or a model folder.

    Returns:
        Card and network.

    Raises:
        UnknownNameError: There is neither a shipped model nor a folder of this name.
        ModelError: Card or weights are missing, damaged, or do not match.
    """
    from decametre.superres.models import registry  # torch takes seconds to import

    return registry.load_model(os.fspath(name))


@takes(ExportOptions)
def export_model(name: PathLike, output: PathLike, options: ExportOptions) -> list[Path]:
    """Write a model as ONNX for other programs, with a STAC-MLM card; see docs/models.md.

    The file is compared with torch on random reflectance before it is written.

    Args:
        name: Name of a shipped model, or a model folder.
        output: The folder to write to, which is created.

    Returns:
        The files written.

    Raises:
        UnknownNameError: There is neither a shipped model nor a folder of this name.
        ModelError: The model cannot be loaded, or cannot have this form.
        OutputError: A file exists already, or cannot be written.
    """
    from decametre.superres.export.forms import form_of
    from decametre.superres.export.onnx_file import check_output, exported_files, write_files

    folder = Path(output)
    model = load_model(name)
    check_output(folder, model.card.name, overwrite=options.overwrite)
    form = form_of(model, options.form, options.offset)
    return write_files(folder, exported_files(form, options.precision))


@takes(ImportModelOptions)
def import_model(folder: PathLike, output: PathLike, options: ImportModelOptions) -> LandCoverCard:
    """Convert a published BigEarthNet v2 network to a model folder for land cover.

    Args:
        folder: A folder of BIFOLD-BigEarthNetv2-0 with config.json and model.safetensors.
        output: The model folder, which is created.

    Returns:
        The card of the model.

    Raises:
        ModelError: A file is missing or damaged, or the network has other classes or bands.
        OutputError: The folder holds a model already, or cannot be created.
    """
    from decametre.errors import OutputError
    from decametre.files import check_parent
    from decametre.landcover.models.configilm import import_published
    from decametre.model_folder import CARD_NAME

    target = Path(output)
    check_parent(target, writable=True)
    if (target / CARD_NAME).exists() and not options.overwrite:
        raise OutputError(f"{target} holds a model already; use --overwrite to replace it")
    return import_published(Path(folder), target, options.release)
