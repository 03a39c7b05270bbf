"""The options of cutting, labelling and planning patches."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from decametre.landcover.options import Classes, Exclude, Stride
from decametre.options import Devices, LocatedPath, LocatedPaths, Models, Options, Overwrite, Text
from decametre.sentinel2.options import Offset


class ExtractOptions(Options):
    """Which patches are cut from products.

    Attributes:
        single_job: Names of the options that a fleet does not have.
    """

    single_job: ClassVar = frozenset(
        {"sharpened", "sharpen", "model", "device", "workers", "overwrite"}
    )

    patches: Annotated[LocatedPath | None, Text(metavar="LIST")] = None
    """List of patches: metadata.parquet of BigEarthNet, an unpacked BigEarthNet v1, names in a .txt
    or .csv file, or a grid as GeoJSON or GeoParquet. By default, a regular grid over each
    product."""
    stride: Stride = 1200
    label_column: Annotated[str, Text(metavar="NAME")] = "labels"
    """Column of the labels in a grid given by `patches`."""
    labels: Annotated[LocatedPath | None, Text(metavar="RASTER")] = None
    """Take the labels from a raster of classes, such as CORINE Land Cover, in place of those of the
    list."""
    label_names: Annotated[LocatedPath | None, Text(metavar="FILE")] = None
    """Names of the classes of the raster, as JSON or CSV. By default those in the raster, which
    `decametre patches label` writes, or the codes of CORINE level 3."""
    label_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """A patch gets the labels of all classes that cover at least this share of it. Pixels for which
    the raster has nodata do not count."""
    classes: Classes = None
    native: bool = True
    """Also store the bands as measured, at their native resolution."""
    exclude: Exclude = ()
    no_cloud: bool = False
    """Skip cloudy patches, according to the scene classification of the product."""
    no_shadow: bool = False
    """Skip patches in the shadow of clouds, according to the scene classification."""
    no_snow: bool = False
    """Skip snowy patches, according to the scene classification."""
    limit: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of a patch that cloud, shadow or snow may each cover."""
    skip_misfits: bool = False
    """Skip patches that do not coincide with the pixels of a product, or cross its edge."""
    offset: Offset = "auto"
    sharpened: Annotated[LocatedPaths, Text(metavar="TIF")] = ()
    """Output of `decametre sharpen` for one of the products, with all bands as DN; stored as
    data_super."""
    sharpen: bool = False
    """Sharpen the products that are not among `sharpened`, with `model` on `device`."""
    model: Models = ()
    device: Devices = "auto"
    workers: Annotated[int | None, Field(ge=1), Text(default="all cores")] = None
    """Processes that cut patches."""
    overwrite: Overwrite = False

    @property
    def screen(self) -> tuple[str, ...]:
        """What a patch must not be covered by: some of `cloud`, `shadow` and `snow`."""
        kinds = {"cloud": self.no_cloud, "shadow": self.no_shadow, "snow": self.no_snow}
        return tuple(kind for kind, skipped in kinds.items() if skipped)


class LabelOptions(Options):
    """How the pixels of a product are labelled."""

    offset: Offset = "auto"
    overwrite: Overwrite = False


class PlanPatchesOptions(Options):
    """How the patches of a list are distributed over workers."""

    workers: Annotated[int, Field(ge=1)]
    """Number of workers."""
    exclude: Exclude = ()
