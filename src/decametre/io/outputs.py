"""Paths of a result, checks of them, and JSON files."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decametre.errors import OutputError
from decametre.files import check_parent
from decametre.io.staging import check_paths

if TYPE_CHECKING:
    from decametre.sentinel2.product import Product


@dataclass(frozen=True)
class OutputFiles(ABC):
    """The files of one result, all in one folder.

    Attributes:
        image: The Cloud-Optimized GeoTIFF that the user names; the other names follow from it.
    """

    image: Path

    @property
    def item(self) -> Path:
        """The STAC item, which is written last."""
        return self.next_to_image("json")

    @property
    @abstractmethod
    def companions(self) -> tuple[Path, ...]:
        """All files but the image."""

    def next_to_image(self, suffix: str) -> Path:
        """A file in the same folder, with the name of the image up to its suffix."""
        return self.image.with_name(f"{self.image.stem}.{suffix}")

    def check(self, *, overwrite: bool) -> None:
        """Check that all files can be written; needs no product and no network.

        Raises:
            OutputError: The image has the wrong suffix, the folder does not exist or cannot be
                written, or a file exists and `overwrite` is false.
        """
        check_parent(self.image)
        if not self.image.is_dir() and self.image.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"{self.image}: give a file name that ends in .tif")
        check_paths(self.image, self.names, overwrite=overwrite)

    @property
    def names(self) -> tuple[str, ...]:
        """File names of the companions."""
        return tuple(path.name for path in self.companions)


def check_input_safe(product: Product, output: Path) -> None:
    """Check that the output does not overwrite the input.

    Raises:
        OutputError: The output is one of the product's files or lies in its SAFE or Zarr folder.
    """
    if "://" in product.source:
        return
    source, target = Path(product.source).resolve(), output.resolve()
    for folder in (source, *source.parents):
        inside = folder.suffix in (".SAFE", ".zarr") or (folder == source and source.is_dir())
        if inside and folder in target.parents:
            raise OutputError(f"{output} lies inside the input {folder}; write it elsewhere")
    inputs = {Path(file.path).resolve() for file in product.bands.values()}
    companions = {target.with_name(f"{target.stem}{end}") for end in (".json", ".quality.json")}
    if inputs & {target} or source in {target, *companions}:
        raise OutputError(f"{output} would overwrite the input {product.source}; write elsewhere")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with indentation."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
