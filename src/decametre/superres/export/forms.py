"""What an exported network takes and returns: the same network behind three kinds of inputs.

* `Grids`: one image for each native grid, as in `NativeTrunk.forward`.
* `DeepnessTile`: the plugin Deepness of QGIS reads all bands of one layer on one grid, divides them
  by 255, and makes one layer of the first channel of every output.
* `EvolandStack`: sentinel2_superresolution of Evoland reads all bands on the finest grid, coarse
  ones by GDAL's cubic interpolation, in DN, and writes as many bands as it has read.
"""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.errors import ModelError
from decametre.model_folder import image_batch
from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.models.adaptive import AdaptiveTrunk
from decametre.superres.models.registry import Model

DN_PER_REFLECTANCE = 10000.0

CUBIC_CELL = (-0.01171875, 0.078125, 0.8671875, 0.078125, -0.01171875)
"""Weights of a band's pixels in the mean over a cell of 2 x 2 pixels to which GDAL has interpolated
the band (cubic convolution of Keys 1981 with a = -0.5, at a quarter and three quarters)."""

INVERSE_REACH = 8
"""Reach of the filter that undoes `CUBIC_CELL`; weights beyond it are below 1e-6."""


class Form(nn.Module, ABC):
    """A network with the inputs and outputs of one program.

    Args:
        model: The model.

    Attributes:
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        sizes: Rows and columns of every input in units of the smallest valid size; 0 for an input
            with one number for each band of a batch.
        fixed: Rows and columns of the inputs if they are fixed, None for any multiple of the unit.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: tuple[int, ...]
    fixed: int | None = None

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.card, self.network = model.card, model.network

    @abstractmethod
    def channels(self) -> tuple[int, ...]:
        """Channels of every input."""

    def example(self, seed: int, rows: int, columns: int, batch: int = 2) -> tuple[Tensor, ...]:
        """Random inputs, with rows and columns in units of the smallest valid size.

        As on ground, all bands have the same structures with different contrast, and some noise. In
        pure noise the regressions of `regression.py` are ill-conditioned, so that rounding alone
        would change their result.
        """
        random = torch.Generator().manual_seed(seed)
        ground = torch.rand((batch, 1, rows, columns), generator=random)
        images = []
        for channels, size in zip(self.channels(), self.sizes, strict=True):
            if not size:
                images.append(0.05 + 0.4 * torch.rand((batch, channels), generator=random))
                continue
            shape = self.fixed or rows * size, self.fixed or columns * size
            contrast = 0.1 + 0.3 * torch.rand((batch, channels, 1, 1), generator=random)
            noise = 0.03 * torch.rand((batch, channels, *shape), generator=random)
            images.append(0.05 + F.interpolate(ground, shape, mode="bilinear") * contrast + noise)
        return tuple(self.scaled(image) for image in images)

    def scaled(self, reflectance: Tensor) -> Tensor:
        """Reflectance in the unit of the inputs."""
        return reflectance

    @abstractmethod
    def described(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Properties of the card: those of the model with this form's inputs and outputs."""

    def metadata(self) -> dict[str, str]:
        """What the program reads from the file, besides the metadata of every form."""
        return {}

    def companions(self) -> dict[str, str]:
        """Further text files by suffix."""
        return {}


class Grids(Form):
    """One input for each native grid, in reflectance; any size.

    Further arguments of a network's `forward` that `FURTHER` describes are inputs, too.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        card = self.card
        taken = inspect.signature(model.network.forward).parameters
        self.gsds = tuple(sorted(card.bands_in))
        self.further = tuple(name for name in FURTHER if name in taken)
        self.outputs = ("sharpened_10m",)
        self._name_inputs()

    def _name_inputs(self) -> None:
        unit = self.card.alignment
        self.inputs = (*(f"reflectance_{gsd}m" for gsd in self.gsds), *self.further)
        self.sizes = (
            *(unit * self.card.coarsest // gsd for gsd in self.gsds),
            *(unit if name in IMAGES else 0 for name in self.further),
        )

    def channels(self) -> tuple[int, ...]:
        """Channels of every input."""
        of_grids = (len(self.card.bands_in[gsd]) for gsd in self.gsds)
        bands = len(self.card.bands_out)
        return (*of_grids, *(1 if name in IMAGES else bands for name in self.further))

    def forward(self, *images: Tensor) -> Tensor:
        """(batch, bands, rows, columns) of the coarsest bands at 10 m, reflectance."""
        count = len(self.gsds)
        further = dict(zip(self.further, images[count:], strict=True))
        result: Tensor = self.network(dict(zip(self.gsds, images, strict=False)), **further)
        return result

    def described(self, properties: dict[str, Any]) -> dict[str, Any]:
        """As the card of the model, with the further inputs and the names of the file."""
        numbers = {
            "shape": [-1, len(self.card.bands_out)],
            "dim_order": ["batch", "bands"],
            "data_type": "float32",
        }
        further = [
            {
                "name": name,
                "bands": [] if name in IMAGES else list(self.card.bands_out),
                "input": image_batch(1) if name in IMAGES else numbers,
                "description": FURTHER[name],
            }
            for name in self.further
        ]
        [output] = properties["mlm:output"]
        return properties | {
            "mlm:input": [*properties["mlm:input"], *further],
            "mlm:output": [output | {"name": self.outputs[0]}],
        }

    def without(self, unused: set[str]) -> None:
        """Drop inputs that do not change the result."""
        self.further = tuple(name for name in self.further if name not in unused)
        self._name_inputs()


FURTHER = {
    "measured": "share of each pixel of the coarsest grid that was measured, 0 to 1; 1 everywhere "
    "for an image without gaps",
    "gains": "gain of each sharpened band at the Nyquist frequency of its own grid, which "
    "`decametre info --mtf` measures",
}
"""Arguments of `forward` besides the bands, with descriptions."""

IMAGES = {"measured"}
"""Those that are images of one channel on the coarsest grid; others have a number for each band."""


class _Stacked(Form):
    """All bands of a network as one image on the 10 m grid, in the order of the GSD."""

    inputs = ("input",)

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        if self.card.alignment > 1:
            raise ModelError(
                f"model {self.card.name}: it attends in windows of {self.card.alignment} pixels, "
                "and this program does not place its tiles at multiples of them; export it with "
                "--form grids"
            )
        self.sizes = (self.card.scale,)
        if isinstance(model.network, AdaptiveTrunk):  # these programs pass no gains
            self.network = model.network.typical()

    def channels(self) -> tuple[int, ...]:
        """Channels of the input."""
        return (len(self.card.bands),)

    def coarse(self, image: Tensor, gsd: int) -> Tensor:
        """Bands of a coarser grid from their values on the 10 m grid."""
        return F.avg_pool2d(image, gsd // FINEST_GSD)

    def sharpened(self, reflectance: Tensor) -> Tensor:
        """Run the network on a stack."""
        images, first = {}, 0
        for gsd, names in self.card.bands_in.items():
            image = reflectance[:, first : first + len(names)]
            images[gsd] = image if gsd == FINEST_GSD else self.coarse(image, gsd)
            first += len(names)
        result: Tensor = self.network(images)
        return result

    def _described(
        self, properties: dict[str, Any], unit: str, edge: int, outputs: list[dict[str, Any]]
    ) -> dict[str, Any]:
        structure = image_batch(len(self.card.bands)) | {
            "shape": [-1, len(self.card.bands), edge, edge]
        }
        tasks = properties["mlm:tasks"]
        return properties | {
            "mlm:input": [
                {
                    "name": "input",
                    "bands": list(self.card.bands),
                    "input": structure,
                    "description": unit,
                }
            ],
            "mlm:output": [{"tasks": tasks, **output} for output in outputs],
        }


class DeepnessTile(_Stacked):
    """A square tile in DN / 255, standardised by the plugin; one output for each band.

    Args:
        model: The model.
        offset: See `ExportOptions.offset`.

    Raises:
        ModelError: The network has attention windows.
    """

    fixed = 600

    def __init__(self, model: Model, offset: int = 0) -> None:
        super().__init__(model)
        self.outputs = tuple(f"sharpened_{name}" for name in self.card.bands_out)
        self.offset = offset
        # Half of the overlap is cut off each tile. One per cent is 6 pixels, a multiple of the
        # coarsest pixel, so that tiles begin at coarse pixels.
        self.overlap = -(-2 * self.card.margin * self.card.scale // (self.fixed // 100))

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Reflectance of every sharpened band, (batch, 1, rows, columns)."""
        [stack] = images
        return tuple(self.sharpened(stack).chunk(len(self.outputs), dim=1))

    def described(self, properties: dict[str, Any]) -> dict[str, Any]:
        """See `Form.described`."""
        result = image_batch(1) | {"shape": [-1, 1, self.fixed, self.fixed]}
        return self._described(
            properties,
            "reflectance on the 10 m grid; coarser bands repeated (nearest neighbour). Deepness "
            "makes it from DN with standardization_mean and standardization_std",
            self.fixed,
            [{"name": name, "result": result} for name in self.outputs],
        )

    def metadata(self) -> dict[str, str]:
        """The keys that Deepness reads; all values are JSON."""
        count, unit = len(self.card.bands), DN_PER_REFLECTANCE / 255
        return {
            "model_type": json.dumps("Regressor"),
            "class_names": json.dumps([{0: name} for name in self.card.bands_out]),
            "resolution": json.dumps(100 * FINEST_GSD),
            "tile_size": json.dumps(self.fixed),
            "tiles_overlap": json.dumps(self.overlap),
            "standardization_mean": json.dumps([-self.offset / 255] * count),
            "standardization_std": json.dumps([unit] * count),
            "reg_output_scaling": json.dumps(DN_PER_REFLECTANCE),
        }


class EvolandStack(_Stacked):
    """All bands at 10 m in DN without offset; returns all bands, sharpened where they were coarse.

    Raises:
        ModelError: The network has attention windows, or sharpens other bands than the 20 m bands.
    """

    outputs = ("output",)

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        if self.card.scale != 2:
            raise ModelError(
                f"model {self.card.name}: sentinel2_superresolution reads no 60 m bands; export "
                "a model for the 20 m bands, such as native_2x"
            )
        self.taps: Tensor
        self.register_buffer("taps", inverse_of_cubic(), persistent=False)

    def scaled(self, reflectance: Tensor) -> Tensor:
        """Reflectance in DN."""
        return reflectance * DN_PER_REFLECTANCE

    def coarse(self, image: Tensor, gsd: int) -> Tensor:
        """The bands as measured, before GDAL interpolated them."""
        means = super().coarse(image, gsd)
        bands = means.shape[1]
        padded = F.pad(means, [INVERSE_REACH] * 4, mode="replicate")
        taps = self.taps.expand(bands, 1, -1)
        rows = F.conv2d(padded, taps[..., None], groups=bands)
        return F.conv2d(rows, taps[..., None, :], groups=bands)

    def forward(self, *images: Tensor) -> Tensor:
        """DN of all bands, in the order of the input."""
        [dn] = images
        fine = dn[:, : len(self.card.bands_in[FINEST_GSD])]
        sharpened = self.sharpened(dn / DN_PER_REFLECTANCE) * DN_PER_REFLECTANCE
        return torch.cat([fine, sharpened], dim=1)

    def described(self, properties: dict[str, Any]) -> dict[str, Any]:
        """See `Form.described`."""
        bands = {"result": image_batch(len(self.card.bands)), "bands": list(self.card.bands)}
        return self._described(
            properties,
            "10000 x reflectance on the 10 m grid, without offset; 20 m bands interpolated by "
            "GDAL's cubic convolution",
            -1,
            [{"name": "output", "result": bands["result"]}],
        )

    def companions(self) -> dict[str, str]:
        """The YAML file that describes the model; JSON is YAML."""
        margin = (self.card.margin + INVERSE_REACH) * self.card.scale
        names = [name.replace("B0", "B") for name in self.card.bands]
        return {
            "yaml": json.dumps(
                {
                    "model": f"{self.card.name}.onnx",
                    "bands": names,
                    "margin": margin,
                    "factor": 1.0,
                },
                indent=1,
            )
            + "\n"
        }


def inverse_of_cubic() -> Tensor:
    """Weights on the coarse grid that undo `CUBIC_CELL`, (2 `INVERSE_REACH` + 1), float32."""
    ring = torch.zeros(128, dtype=torch.float64)
    for place, weight in enumerate(CUBIC_CELL):
        ring[place - len(CUBIC_CELL) // 2] = weight
    inverse = torch.fft.ifft(1 / torch.fft.fft(ring)).real
    return torch.cat([inverse[-INVERSE_REACH:], inverse[: INVERSE_REACH + 1]]).float()


def form_of(model: Model, name: str, offset: int = 0) -> Form:
    """A model in the form of this name; see `ExportOptions.form`.

    Raises:
        ModelError: The model cannot have this form.
    """
    if name == "deepness":
        return DeepnessTile(model, offset)
    return EvolandStack(model) if name == "evoland" else Grids(model)
