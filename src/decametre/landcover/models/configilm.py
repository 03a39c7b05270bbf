"""Import of the networks that BigEarthNet's authors publish (Clasen et al. 2025, reBEN).

A published folder holds `config.json` and `model.safetensors` of ConfigILM. The facts come from
ConfigILM 0.7 (`configilm/extra/BENv2_utils.py`, `DataSets/BENv2_DataSet.py`) and the model pages of
BIFOLD-BigEarthNetv2-0:

* The network is one of timm, with the prefix `model.vision_encoder.`.
* Classes are sorted by name.
* Releases up to 0.1.1 and from 0.2.0 on have different orders of bands, which the files do not
  state; the name of the folder or its README does.
* Bands are repeated to 10 m (nearest neighbour), and normalised with the means and deviations of
  `120_nearest`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from decametre.errors import ModelError
from decametre.files import read_json
from decametre.landcover.models.card import LandCoverCard, build_land_cover, save_land_cover
from decametre.landcover.models.network import LandCoverNetwork
from decametre.landcover.patches.nomenclature import BIGEARTHNET19
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES

CONFIG, WEIGHTS, README = "config.json", "model.safetensors", "README.md"
PREFIX = "model.vision_encoder."
ATTRIBUTION = "BIFOLD-BigEarthNetv2-0; contains modified Copernicus Sentinel data 2017-2018"

TEN_AND_TWENTY = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")

BANDS: dict[int, tuple[str, ...]] = {
    3: ("B04", "B03", "B02"),
    4: ("B02", "B03", "B04", "B08"),
    10: TEN_AND_TWENTY,
}
"""Order of the bands by number of channels, from release 0.2.0 on."""

OLD_BANDS: dict[int, tuple[str, ...]] = {
    3: ("B04", "B03", "B02"),
    4: ("B04", "B03", "B02", "B08"),
    10: ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B11", "B12", "B8A"),
}
"""The same for releases up to 0.1.1."""

RADAR = (2, 12, 14)
"""Channels of networks that read Sentinel-1."""

MEANS_DN = {
    **{"B02": 438.3720703125, "B03": 614.0556640625, "B04": 588.4096069335938},
    **{"B05": 942.8433227539062, "B06": 1769.931640625, "B07": 2049.551513671875},
    **{"B08": 2193.2919921875, "B8A": 2235.556640625},
    **{"B11": 1568.226806640625, "B12": 997.7324829101562},
}
"""Mean DN of the training split, `120_nearest`. DN / 10000 is reflectance in BigEarthNet."""

DEVIATIONS_DN = {
    **{"B02": 607.02685546875, "B03": 603.2968139648438, "B04": 684.56884765625},
    **{"B05": 738.4326782226562, "B06": 1100.4560546875, "B07": 1275.805419921875},
    **{"B08": 1369.3717041015625, "B8A": 1356.5440673828125},
    **{"B11": 1070.1612548828125, "B12": 813.5276489257812},
}
"""Standard deviation of the same."""


@dataclass(frozen=True)
class Published:
    """A published network.

    Attributes:
        name: Name of the folder.
        backbone: Network of timm.
        image_size: Edge of a patch in pixels of 10 m.
        bands: In the order of the channels.
        release: Such as `0.2.0`.
        weights: By name in the network of timm.
    """

    name: str
    backbone: str
    image_size: int
    bands: tuple[str, ...]
    release: str
    weights: Mapping[str, Tensor]


def import_published(folder: Path, output: Path, release: str | None = None) -> LandCoverCard:
    """Convert a published network to a model folder.

    Args:
        folder: With `config.json` and `model.safetensors`.
        output: The model folder, which is created.
        release: Release of the published network; by default read from the name or README.md of the
            folder.

    Returns:
        The card of the model.

    Raises:
        ModelError: A file is missing or damaged, the network has another task, other classes or
            other bands, or its release is unknown.
    """
    published = read_published(folder, release)
    classes = sorted(BIGEARTHNET19.classes)
    bands_in = {
        gsd: tuple(name for name in published.bands if ALL_BANDS[name].gsd == gsd)
        for gsd in sorted({ALL_BANDS[name].gsd for name in published.bands})
    }
    card = LandCoverCard(
        name=published.name,
        architecture=published.backbone,
        config={"img_size": published.image_size},
        bands_in=bands_in,
        norm="merged",
        sharpened=False,
        nomenclature=BIGEARTHNET19.name,
        classes=BIGEARTHNET19.classes,
        resampling="nearest",
        training={"imported_from": f"BIFOLD-BigEarthNetv2-0, release {published.release}"},
        license="MIT",
        attribution=ATTRIBUTION,
    )
    card, network = _built(card)
    body, head = _split_head(dict(published.weights), network)
    reorder_channels(body, network, published.bands)
    rows = [classes.index(name) for name in BIGEARTHNET19.classes]
    try:
        network.body.load_state_dict(body)
        network.head.load_state_dict({key: value[rows] for key, value in head.items()})
    except (RuntimeError, IndexError) as error:
        raise ModelError(
            f"{folder / WEIGHTS}: not the weights of {published.backbone} with "
            f"{len(published.bands)} bands and {len(classes)} classes ({error})"
        ) from error
    ordered = [name for name in BAND_NAMES if name in published.bands]
    network.mean.copy_(torch.tensor([MEANS_DN[name] / 10000 for name in ordered]))
    network.deviation.copy_(torch.tensor([DEVIATIONS_DN[name] / 10000 for name in ordered]))
    return save_land_cover(output, card, network)


def read_published(folder: Path, release: str | None = None) -> Published:
    """Read a published folder, and check it; arguments and errors as in `import_published`."""
    path = folder / CONFIG
    try:
        config = read_json(path)
        backbone, channels = str(config["timm_model_name"]), int(config["channels"])
        classes, names = int(config["classes"]), config.get("class_names")
        kind, size = int(config.get("network_type", 0)), int(config.get("image_size", 120))
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder}: no {CONFIG} there; give a folder with {CONFIG} and {WEIGHTS}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: not the configuration of a published BigEarthNet v2 network "
            f"({type(error).__name__}: {error})"
        ) from error
    if kind != 0:
        raise ModelError(f"{path}: network_type {kind} is no image classification (0)")
    if channels in RADAR:
        raise ModelError(
            f"{path}: the network reads Sentinel-1 ({channels} channels); import one of Sentinel-2 "
            "(`-s2-` in its name)"
        )
    _check_classes(path, classes, names)
    release = release or _release_of(folder)
    orders = BANDS if _version(release) >= (0, 2) else OLD_BANDS
    if channels not in orders:
        raise ModelError(f"{path}: {channels} channels; known: {', '.join(map(str, orders))}")
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / WEIGHTS}: cannot be read ({error})") from error
    foreign = [key for key in weights if not key.startswith(PREFIX)]
    if foreign:
        raise ModelError(f"{folder / WEIGHTS}: '{foreign[0]}' does not begin with {PREFIX}")
    name = folder.resolve().name
    stripped = {key.removeprefix(PREFIX): value for key, value in weights.items()}
    return Published(name, backbone, size, orders[channels], release, stripped)


def _check_classes(path: Path, number: int, names: Sequence[str] | None) -> None:
    expected = sorted(BIGEARTHNET19.classes)
    if number != len(expected):
        raise ModelError(f"{path}: {number} classes, not the {len(expected)} of BigEarthNet v2")
    # ConfigILM replaces missing names by numbers.
    if names and list(names) not in (expected, [str(at) for at in range(number)]):
        raise ModelError(f"{path}: class_names are not BigEarthNet's {number} classes by name")


def _release_of(folder: Path) -> str:
    readme = folder / README
    texts = [folder.resolve().name]
    if readme.is_file():
        texts.append(readme.read_text(encoding="utf-8", errors="replace"))
    for text in texts:
        found = re.search(r"-(?:s2|all|s1)-v(\d+\.\d+\.\d+)", text)
        if found:
            return found[1]
    raise ModelError(
        f"{folder}: neither its name nor {README} states the release, on which the order of bands "
        "depends; give --release 0.2.0 (or 0.1.1)"
    )


def _version(release: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in release.split("."))
    except ValueError as error:
        raise ModelError(f"release '{release}' is no version such as 0.2.0") from error


def _built(card: LandCoverCard) -> tuple[LandCoverCard, LandCoverNetwork]:
    """The network of a card; without `img_size` if timm's network takes none, as in ConfigILM."""
    from dataclasses import replace

    try:
        return card, build_land_cover(card)
    except ModelError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        card = replace(card, config={})
        return card, build_land_cover(card)


def _split_head(
    weights: dict[str, Tensor], network: LandCoverNetwork
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights of the body, and weight and bias of the last layer."""
    name = network.body.pretrained_cfg["classifier"]  # type: ignore[index]
    head = {key: weights.pop(f"{name}.{key}", torch.empty(0)) for key in ("weight", "bias")}
    return weights, head


def reorder_channels(
    weights: dict[str, Tensor], network: LandCoverNetwork, bands: Sequence[str]
) -> None:
    """Bring the input channels of the first convolution to the order of `LandCoverNetwork`."""
    first = f"{network.body.pretrained_cfg['first_conv']}.weight"  # type: ignore[index]
    order = [bands.index(name) for name in BAND_NAMES if name in bands]
    if first in weights and weights[first].shape[1] == len(order):
        weights[first] = weights[first][:, order].contiguous()
