"""Select and read the stored images that hold the input bands of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decametre.errors import PatchError
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS
from decametre.landcover.patches.store import PatchStore
from decametre.sentinel2.bands import BAND_NAMES

Dn = dict[int, np.ndarray]
"""uint16 DN, (patches, bands, rows, columns), for each GSD in metres; 0 is nodata."""

Offset = dict[int, np.ndarray]
"""float32 radiometric offset in DN, (patches, bands), for each GSD."""


@dataclass(frozen=True)
class Images:
    """Input bands of a network that one image of a store holds.

    Attributes:
        gsd: Pixel size in metres.
        key: Key of the image in the store.
        channels: Positions of the bands in the stored image.
        columns: Positions of the bands in the store's offsets.
    """

    gsd: int
    key: str
    channels: tuple[int, ...]
    columns: tuple[int, ...]


def chosen_images(bands: Sequence[str], store: PatchStore, *, sharpened: bool) -> list[Images]:
    """Select the stored images that hold some bands.

    Args:
        bands: Input bands of the network.
        store: The patches.
        sharpened: Take all bands at 10 m, rather than each on its native grid.

    Raises:
        PatchError: The store lacks an image.
    """
    keys = ("data_super",) if sharpened else NATIVE_KEYS
    held = {key: [name for name in LAYOUTS[key].bands if name in bands] for key in keys}
    return [_images(key, names, store) for key, names in held.items() if names]


def images_of(
    bands_in: Mapping[int, Sequence[str]], store: PatchStore, *, sharpened: bool
) -> list[Images]:
    """Select the stored images that a network's card names, in the card's order.

    Args:
        bands_in: Band names for each GSD.
        store: The patches.
        sharpened: See `chosen_images`.

    Raises:
        PatchError: The store lacks an image.
    """
    return [
        _images("data_super" if sharpened else f"data_{gsd}m", names, store)
        for gsd, names in bands_in.items()
    ]


def _images(key: str, names: Sequence[str], store: PatchStore) -> Images:
    if key not in store.keys:
        raise PatchError(
            f"{store.path} has no {key}, which the network needs, only {', '.join(store.keys)}; "
            "make a store with it (`decametre patches extract`), or choose another network "
            "(network.upsampling)"
        )
    held = LAYOUTS[key].bands
    return Images(
        LAYOUTS[key].gsd,
        key,
        tuple(held.index(name) for name in names),
        tuple(BAND_NAMES.index(name) for name in names),
    )


def bands_of(images: Sequence[Images]) -> Mapping[int, tuple[str, ...]]:
    """Band names for each GSD."""
    return {image.gsd: tuple(BAND_NAMES[at] for at in image.columns) for image in images}


def read_images(
    store: PatchStore, indices: Sequence[int] | np.ndarray, images: Sequence[Images]
) -> tuple[Dn, Offset]:
    """Read images and offsets of patches.

    Args:
        store: The patches.
        indices: Indices in the store; may be empty.
        images: Images and bands to read.
    """
    keys = [*(image.key for image in images), "offset"]
    found = store.read(np.asarray(indices, np.int64).tolist(), keys)
    return (
        {image.gsd: _columns(found[image.key], image.channels) for image in images},
        {image.gsd: found["offset"][:, image.columns].astype(np.float32) for image in images},
    )


def _columns(images: np.ndarray, channels: tuple[int, ...]) -> np.ndarray:
    """Select bands; without a copy if all are selected."""
    return images if channels == tuple(range(images.shape[1])) else images[:, list(channels)]
