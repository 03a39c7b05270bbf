"""The training loop of super-resolution: degrade, predict, masked L1, step.

The loss is a sum and a count, divided in one place, so that a batch split over devices can be
made to give the gradient of the undivided batch.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from decametre.evaluation import SceneScore, mean_ratio, score
from decametre.models.card import ATTRIBUTION, Card
from decametre.models.registry import BANDS_FOR_SCALE, build, save_model
from decametre.sampling import PatchSampler
from decametre.scenes import Scene
from decametre.wald import Pair, degrade_scene

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a training run is made of.

    Attributes:
        scale: 2 for the 20 m bands, 6 for the 60 m bands.
        network: Architecture in the registry.
        config: Its arguments.
        kernel: Degradation kernel.
        steps: Number of optimizer steps.
        batch: Patches a step.
        patch: Edge of a patch in pixels of the degraded coarsest grid (40 m or 360 m).
        rate: Peak learning rate of Adam; a linear rise over `warmup` steps, then a cosine to 0.
        warmup: Steps.
        decay: Weight decay.
        gain: Range of the random radiometric gain, see `PatchSampler`.
        min_measured: See `wald.MIN_MEASURED`; lower values let more of torn scenes teach.
        average: Decay a step of the moving average of weights that is validated and kept.
        validate_every: Steps between validations.
        seed: Of weights and patches.
    """

    scale: int
    network: str
    config: dict[str, Any]
    kernel: str = "dsen2"
    steps: int = 10000
    batch: int = 32
    patch: int = 32
    rate: float = 7e-4
    warmup: int = 200
    decay: float = 0.0
    gain: float = 0.3
    min_measured: float = 0.9
    average: float = 0.999
    validate_every: int = 500
    seed: int = 0


def loss_of(network: nn.Module, pair: Pair, precision: torch.dtype) -> tuple[Tensor, int]:
    """Sum of absolute errors over the mask, and the number of pixels in the mask."""
    device = pair.target.device.type
    with torch.autocast(device, dtype=precision, enabled=precision != torch.float32):
        predicted = network(pair.inputs)
    errors = (predicted.float() - pair.target).abs() * pair.mask
    return errors.sum(), int(pair.mask.sum())


def learning_rate(step: int, settings: Settings) -> float:
    """Linear warm-up, then half a cosine down to 0."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.rate * 0.5 * (1 + math.cos(math.pi * share))


def train(
    name: str,
    settings: Settings,
    scenes: Sequence[Scene],
    validation: Sequence[Scene],
    folder: Path,
    precision: torch.dtype = torch.float32,
) -> Card:
    """Train a network and leave a model folder.

    Args:
        name: The model's name.
        settings: The run.
        scenes: To train on.
        validation: Never trained on; the weights that score best there are kept.
        folder: Where `card.json` and `weights.safetensors` of the best weights so far stand, and
            a log of all validations in `log.jsonl`.
        precision: Of the forward pass; weights and optimizer stay float32.

    Returns:
        The card of the best weights.
    """
    torch.manual_seed(settings.seed)
    bands_in = BANDS_FOR_SCALE[settings.scale]
    card = Card(name, settings.network, settings.config, bands_in, margin=0)
    network = build(card).to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval()
    margin = int(network.margin)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings.decay)
    sampler = PatchSampler(
        [degrade_scene(s, settings.kernel, bands_in, settings.min_measured) for s in scenes],
        settings.patch,
        settings.gain,
        settings.seed,
    )
    held_out = [degrade_scene(s, settings.kernel, bands_in) for s in validation]
    folder.mkdir(parents=True, exist_ok=True)
    best, start, running, counted = math.inf, time.monotonic(), 0.0, 0
    for step in range(settings.steps):
        loss_sum, count = loss_of(network, sampler.batch(settings.batch), precision)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        optimizer.zero_grad(set_to_none=True)
        (loss_sum / max(1, count)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            decay = min(settings.average, (step + 1) / (step + 10))
            for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        running, counted = running + float(loss_sum.detach()), counted + count
        if (step + 1) % settings.validate_every and step + 1 < settings.steps:
            continue
        scores = score(average, margin, held_out)
        ratio = mean_ratio(scores)
        record = {
            "step": step + 1,
            "minutes": round((time.monotonic() - start) / 60, 2),
            "loss_dn": round(running / max(1, counted) * 1e4, 3),
            "ratio": round(ratio, 4),
            "scenes": {s.scene: round(s.ratio, 4) for s in scores},
        }
        log.info("%s", json.dumps(record))
        with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        running, counted = 0.0, 0
        if ratio < best:
            best = ratio
            training = {
                "settings": asdict(settings),
                "step": step + 1,
                "scenes": [scene.name for scene in scenes],
                "precision": str(precision).removeprefix("torch."),
            }
            card = save_model(
                folder,
                Card(
                    name=name,
                    network=settings.network,
                    config=settings.config,
                    bands_in=bands_in,
                    margin=margin,
                    training=training,
                    scores=scores_for_card(settings, scores),
                    datetime=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    attribution=f"{ATTRIBUTION} 2015-2022",
                ),
                average,
            )
    return card


def scores_for_card(settings: Settings, scores: Sequence[SceneScore]) -> dict[str, Any]:
    """Validation scores as the card keeps them; at degraded scale, and named so."""
    return {
        "protocol": f"Wald, kernel {settings.kernel}, scale {settings.scale}, masked",
        "split": "validation",
        "rmse_ratio_to_bicubic": round(mean_ratio(scores), 4),
        "scenes": {
            s.scene: {
                "rmse_dn": [round(v, 2) for v in s.rmse],
                "bicubic_rmse_dn": [round(v, 2) for v in s.rmse_bicubic],
            }
            for s in scores
        },
    }
