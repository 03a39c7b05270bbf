"""The card of a super-resolution network.

Margin, scale, bands and window alignment are always read from the card, never from an option.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from decametre.model_folder import STRICT, ModelCard, image_batch
from decametre.options import KERNELS
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD


@dataclass(frozen=True, config=STRICT)
class Card(ModelCard):
    """The card of a super-resolution network.

    The network brings the bands of the coarsest GSD in `bands_in` to 10 m.

    Attributes:
        margin: Receptive field in pixels of the coarsest grid.
        alignment: Windows start at multiples of this number of pixels of the coarsest grid, counted
            from the product's origin; 1 for a purely convolutional network.
        projection: Degradation kernel of the consistency layer after the network, `dsen2` or
            `mtf`; None if there is no such layer.
    """

    TASK = "super-resolution"
    PROPERTIES = (
        *("config", "bands_in", "scale", "margin", "alignment", "projection"),
        *("training", "scores"),
    )
    ADDED_LATER: ClassVar[frozenset[str]] = frozenset({"projection"})

    margin: int = Field(ge=0)
    alignment: int = Field(default=1, ge=1)
    projection: str | None = None

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for gsd, names in self.bands_in.items():
            for name in names:
                if name not in ALL_BANDS or ALL_BANDS[name].gsd != gsd:
                    raise PydanticCustomError("band", f"there is no band '{name}' at {gsd} m")
        if self.projection not in (None, *KERNELS):
            raise PydanticCustomError(
                "kernel",
                f"projection '{self.projection}' is no degradation kernel; known: "
                f"{', '.join(KERNELS)}, or null for none",
            )
        return self

    @property
    def coarsest(self) -> int:
        """GSD in metres of the bands that the network brings to 10 m."""
        return max(self.bands_in)

    @property
    def scale(self) -> int:
        """Ratio of the coarsest grid to the 10 m grid: 2 or 6."""
        return self.coarsest // FINEST_GSD

    @property
    def bands_out(self) -> tuple[str, ...]:
        """The bands that the network brings to 10 m."""
        return self.bands_in[self.coarsest]

    @property
    def bands(self) -> tuple[str, ...]:
        """All input bands of the network."""
        return tuple(name for names in self.bands_in.values() for name in names)

    @property
    def ratios_of_kernels(self) -> dict[str, float]:
        """RMSE divided by that of bicubic on the validation scenes, for each degradation kernel."""
        if "of_kernels" in self.scores:
            return dict(self.scores["of_kernels"])
        # Cards of networks that were trained and scored for one kernel name it in the protocol.
        ratio, protocol = self.scores.get("rmse_ratio_to_bicubic"), self.scores.get("protocol", "")
        return {
            kernel: ratio
            for kernel in KERNELS
            if ratio is not None and f"kernel {kernel}," in protocol
        }

    @property
    def description(self) -> str:
        """What the model does, in one line."""
        return f"Brings {', '.join(self.bands_out)} to {FINEST_GSD} m"

    @property
    def output(self) -> dict[str, Any]:
        """The network's output as an MLM output, without its task."""
        return {"name": "reflectance_10m", "result": image_batch(len(self.bands_out))}
