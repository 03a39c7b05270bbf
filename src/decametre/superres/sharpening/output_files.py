"""Paths of the files that sharpening writes."""

from __future__ import annotations

from pathlib import Path

from decametre.io.outputs import OutputFiles
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.options import MASK_NAMES
from decametre.superres.sharpening.options import SharpenOptions


class SharpenedFiles(OutputFiles):
    """The files of a sharpened product."""

    @property
    def quality(self) -> Path:
        """The quality card."""
        return self.next_to_image("quality.json")

    @property
    def quicklook(self) -> Path:
        """The before/after picture, if there is one."""
        return self.next_to_image("quicklook.png")

    @property
    def thumbnail(self) -> Path:
        """The small picture of the complete result, if there is one."""
        return self.next_to_image("thumbnail.jpg")

    def images(self, options: SharpenOptions) -> dict[str, Path]:
        """The GeoTIFF of each band: `NAME.tif`, or `NAME.B05.tif` with `split_bands`."""
        if options.split_bands:
            return {name: self.next_to_image(f"{name}.tif") for name in options.bands}
        return dict.fromkeys(options.bands, self.image)

    def mask(self, name: str) -> Path:
        """The copy of a raster of `sentinel2.options.MASK_NAMES`, such as `NAME.scl.tif`."""
        return self.next_to_image(f"{name}.tif")

    @property
    def uncertainty(self) -> Path:
        """The standard deviations of the errors, if they were requested."""
        return self.next_to_image("uncertainty.tif")

    @property
    def companions(self) -> tuple[Path, ...]:
        """All but the image."""
        pictures = self.quicklook, self.thumbnail
        split = (self.next_to_image(f"{name}.tif") for name in BAND_NAMES)
        masks = map(self.mask, MASK_NAMES)
        return self.item, self.quality, self.uncertainty, *pictures, *masks, *split
