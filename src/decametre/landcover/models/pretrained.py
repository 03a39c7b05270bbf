"""Backbones that start from published weights: ImageNet, SSL4EO-S12, Satlas, and others.

A file of torchvision, timm or torchgeo is a mapping of names to tensors, perhaps inside another
mapping and with a prefix (`backbone.`, `module.encoder_q.`). Both are found by comparing names.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from decametre.errors import ModelError
from decametre.landcover.models.network import LandCoverNetwork
from decametre.sentinel2.bands import BAND_NAMES

NESTED = ("state_dict", "model_state_dict", "model", "teacher", "student")
"""Keys under which training programs store the weights."""

LEAST_SHARE = 0.5
"""Least share of the backbone's tensors that a file must hold, or it is of another network."""

BANDS_BY_CHANNELS: dict[int, tuple[str, ...]] = {
    3: ("B04", "B03", "B02"),
    9: ("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B11", "B12"),
    10: ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
    12: BAND_NAMES,
    13: (*BAND_NAMES[:10], "B10", *BAND_NAMES[10:]),
}
"""Bands of published first convolutions by number of channels: ImageNet RGB, Satlas, BigEarthNet,
Level-2A, and SSL4EO-S12 (Level-1C with B10)."""


@dataclass(frozen=True)
class Loaded:
    """What was loaded.

    Attributes:
        source: File name, or name in timm.
        checksum: SHA-256 of the file; empty for a name.
        text: One line on what was and was not loaded.
    """

    source: str
    checksum: str
    text: str


def load_pretrained(network: LandCoverNetwork, source: str) -> Loaded:
    """Start the backbone of a network from published weights; its last layer stays random.

    Args:
        network: Is changed.
        source: A file (.safetensors, .pth, .pt), or the name of pretrained weights in timm, such as
            `resnet50.a1_in1k`, which timm downloads.

    Raises:
        ModelError: The weights cannot be read, or are of another network.
    """
    path = Path(source)
    weights = _read_file(path) if path.is_file() else _download(source)
    own = dict(network.body.state_dict())
    prefix = _prefix(weights, own)
    found = {key: weights[prefix + key].clone() for key in own if prefix + key in weights}
    notes = [note for note in (_fit_first(found, network), _fit_position(found, network)) if note]
    odd = [key for key, value in found.items() if value.shape != own[key].shape]
    for key in odd:
        del found[key]
    if len(found) < LEAST_SHARE * len(own):
        raise ModelError(
            f"network.pretrained {source}: only {len(found)} of the {len(own)} tensors of the "
            "backbone are in it; it is of another network (network.backbone)"
        )
    network.body.load_state_dict(own | found)
    unused = [
        key for key in weights if not (key.startswith(prefix) and key[len(prefix) :] in found)
    ]
    absent = [key for key in own if key not in found]
    parts = [f"{path.name}: {len(found)} of {len(own)} tensors of the backbone loaded", *notes]
    parts += [
        f"{what}: {_listed(keys)}"
        for what, keys in (("random", absent), ("unused", unused))
        if keys
    ]
    checksum = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return Loaded(path.name, checksum, "; ".join(parts))


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise ModelError(f"network.pretrained {path}: cannot be read ({error})") from error
    except Exception as error:  # pickle's errors have no common base
        raise ModelError(
            f"network.pretrained {path}: holds more than tensors, which is not read because it "
            "could run code; save its state_dict with safetensors"
        ) from error
    while isinstance(content, Mapping) and (inner := [key for key in NESTED if key in content]):
        content = content[inner[0]]
    if not isinstance(content, Mapping):
        raise ModelError(f"network.pretrained {path}: holds no state_dict")
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _download(name: str) -> dict[str, Tensor]:
    from timm import create_model

    try:
        return dict(create_model(name, pretrained=True, num_classes=0).state_dict())
    except Exception as error:  # of timm, the hub and the network
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"network.pretrained {name}: no such file, and timm cannot load it ({reason:.200}); "
            "give the path of a file"
        ) from error


def _prefix(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What most names have in front of a name of the backbone."""
    prefixes = Counter(
        key[: len(key) - len(name)] for key in weights for name in _tails(key) if name in own
    )
    return prefixes.most_common(1)[0][0] if prefixes else ""


def _tails(key: str) -> list[str]:
    """`a.b.c`, `b.c` and `c` for `a.b.c`."""
    words = key.split(".")
    return [".".join(words[at:]) for at in range(len(words))]


def _fit_first(found: dict[str, Tensor], network: LandCoverNetwork) -> str:
    """Adapt the first convolution to the network's bands; returns a note, or an empty text.

    A band that the file knows gets its own weights. Others get the mean over all known bands. All
    are scaled by the ratio of the numbers of bands, so that activations keep their size.
    """
    name = network.body.pretrained_cfg["first_conv"]  # type: ignore[index]
    first = f"{name if isinstance(name, str) else name[0]}.weight"
    bands = [band for band in BAND_NAMES if any(band in of for of in network.bands_in.values())]
    weight = found.get(first)
    if weight is None:
        return ""
    known = BANDS_BY_CHANNELS.get(weight.shape[1])
    if known is None:
        return ""  # its shape does not fit, which is reported
    mean = weight.mean(dim=1)
    columns = [weight[:, known.index(band)] if band in known else mean for band in bands]
    found[first] = torch.stack(columns, dim=1) * (len(known) / len(bands))
    if tuple(bands) == known:
        return ""
    new = [band for band in bands if band not in known]
    text = f"first convolution adapted from {len(known)} to {len(bands)} bands"
    return text + (f" (mean of all for {', '.join(new)})" if new else "")


def _fit_position(found: dict[str, Tensor], network: LandCoverNetwork) -> str:
    """Resample the position embedding of a vision transformer to the network's image size."""
    embedding, body = found.get("pos_embed"), network.body
    own = getattr(body, "pos_embed", None)
    if embedding is None or own is None or embedding.shape == own.shape or embedding.ndim != 3:
        return ""
    from timm.layers import resample_abs_pos_embed

    size: tuple[int, int] = body.patch_embed.grid_size  # type: ignore[assignment, union-attr]
    prefix: int = body.num_prefix_tokens  # type: ignore[assignment]
    found["pos_embed"] = resample_abs_pos_embed(
        embedding, new_size=list(size), num_prefix_tokens=prefix
    )
    return f"position embedding resampled to {size[0]} x {size[1]}"
