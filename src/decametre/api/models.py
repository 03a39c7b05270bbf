"""Load a model, and exchange models with other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from decametre.api.keywords import takes
from decametre.options import PathLike
from decametre.superres.export.options import ExportOptions

if TYPE_CHECKING:
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
