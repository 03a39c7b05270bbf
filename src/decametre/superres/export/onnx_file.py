"""Writes a network as ONNX, and compares the file with torch before it is kept."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from decametre.errors import ModelError, OutputError
from decametre.files import check_parent, check_path, write_file
from decametre.model_folder import item_text
from decametre.superres.export.forms import Form, Grids
from decametre.superres.models.card import Card
from decametre.version import __version__

TOLERANCE = {"float32": 1e-4, "float16": 1e-2}
"""Largest difference from torch in float32 that an export may have, in reflectance."""

LARGEST = 1 << 14
"""Largest number of rows or columns in the export's assumptions, in units of the smallest size."""


class _Autocast(nn.Module):
    """A network that computes in float16 where it does so in autocast."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, *images: Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.float16):
            return self.form(*images)


def exported_files(form: Form, precision: str) -> dict[str, bytes]:
    """The files of an export by name.

    Args:
        form: The model.
        precision: `float32` or `float16`.

    Returns:
        `NAME.onnx`, companions of the form, and `NAME.json`, the card.

    Raises:
        ModelError: The network cannot be exported, or the file's results differ from torch's.
    """
    card = form.card
    content = _onnx(form, precision)
    difference = _difference(content, form)
    if difference > TOLERANCE[precision]:
        raise ModelError(
            f"model {card.name}: results of the exported file differ from torch by "
            f"{difference:.2g} of reflectance, more than {TOLERANCE[precision]}; report this"
        )
    files = {f"{card.name}.onnx": content}
    for suffix, text in form.companions().items():
        files[f"{card.name}.{suffix}"] = text.encode()
    item = _card(form, precision, hashlib.sha256(content).hexdigest(), difference)
    return files | {f"{card.name}.json": item_text(item).encode()}


def _onnx(form: Form, precision: str) -> bytes:
    """Content of the ONNX file."""
    network: nn.Module = form if precision == "float32" else _Autocast(form)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own functions
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            made = torch.onnx.export(
                _traced(network, form),
                dynamo=True,
                verbose=False,
                input_names=form.inputs,
                output_names=form.outputs,
            )
        except RuntimeError as error:
            raise ModelError(
                f"model {form.card.name}: torch {torch.__version__} cannot export architecture "
                f"{form.card.architecture} to ONNX; report this"
            ) from error
    assert made is not None
    graph = made.model.graph
    unused = {str(value.name) for value in graph.inputs if not value.uses()}
    if unused and isinstance(form, Grids):
        for value in [value for value in graph.inputs if value.name in unused]:
            graph.inputs.remove(value)
        form.without(unused)
    made.model.metadata_props.update(_metadata(form, precision))
    return made.model_proto.SerializeToString()


def _traced(network: nn.Module, form: Form) -> ExportedProgram:
    """The network's graph for any batch, rows and columns that it can process."""
    batch = Dim("batch", min=1, max=LARGEST)
    rows, columns = (Dim(name, min=2, max=LARGEST) for name in ("rows", "columns"))
    shapes: list[dict[int, Any]] = []
    for size in form.sizes:
        free = size and not form.fixed
        sides = {2: _times(size, rows), 3: _times(size, columns)} if free else {}
        shapes.append({0: batch, **sides})
    return torch.export.export(
        network,
        form.example(0, 4, 5),
        # `forward(*images)` counts as one argument.
        dynamic_shapes=(tuple(shapes),),
        strict=False,
        prefer_deferred_runtime_asserts_over_guards=True,
    )


def _times(size: int, dimension: Any) -> Any:
    return size * dimension if size > 1 else dimension


def _difference(content: bytes, form: Form) -> float:
    """Largest difference between the file in onnxruntime and torch, in reflectance."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    largest = 0.0
    # Another size than in the trace.
    images = form.example(1, 9, 7, batch=1)
    with torch.no_grad():
        expected = form(*images)
    expected = (expected,) if isinstance(expected, Tensor) else expected
    feed = {name: image.numpy() for name, image in zip(form.inputs, images, strict=True)}
    unit = float(form.scaled(torch.ones(())))
    for found, wanted in zip(session.run(None, feed), expected, strict=True):
        largest = max(largest, float(np.abs(found - wanted.numpy()).max()) / unit)
    return largest


def _metadata(form: Form, precision: str) -> dict[str, str]:
    """Metadata of the file: the facts of the card that a program needs, as JSON."""
    card: Card = form.card
    facts = {
        "name": card.name,
        "description": card.description,
        "bands_in": {str(gsd): list(names) for gsd, names in card.bands_in.items()},
        "bands_out": list(card.bands_out),
        "scale": card.scale,
        "margin": card.margin,
        "alignment": card.alignment,
        "normalisation": "none: inputs and outputs are reflectance of order 1, offset applied"
        if isinstance(form, Grids)
        else "see the card",
        "precision": precision,
        "license": card.license,
        "attribution": card.attribution,
        "version": __version__,
    }
    return {f"decametre:{key}": json.dumps(value) for key, value in facts.items()} | form.metadata()


def _card(form: Form, precision: str, checksum: str, difference: float) -> dict[str, Any]:
    """The STAC item with the MLM extension that describes the file."""
    item = form.card.to_stac()
    properties = form.described(item["properties"])
    properties["mlm:framework"] = "ONNX"
    properties["decametre:export"] = {
        "precision": precision,
        "largest_difference_from_torch": float(f"{difference:.2g}"),
    }
    file = form.card.weights_asset(f"{form.card.name}.onnx", "onnx", "ONNX", checksum)
    return item | {"properties": properties, "assets": {"model": file}}


def check_output(folder: Path, name: str, *, overwrite: bool) -> None:
    """Check that an export can be written, before the minutes that it takes.

    Args:
        folder: The folder, which need not exist.
        name: Name of the model.
        overwrite: Allow the files to exist.

    Raises:
        OutputError: The folder is a file or cannot be created, or a file exists.
    """
    check_path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give the name of a folder")
    for path in (folder / f"{name}{suffix}" for suffix in (".onnx", ".yaml", ".json")):
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists already; use --overwrite to replace it")
    if not folder.is_dir():
        check_parent(folder, writable=True)


def write_files(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Write the files of an export into a folder, which is created; the card last.

    Raises:
        OutputError: A file cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created ({error.strerror})") from error
    for name, content in files.items():
        write_file(folder / name, content)
    return [folder / name for name in files]
