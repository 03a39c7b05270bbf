"""`python -m decametre.training`: train a network of the default family on your own products."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import click
import torch

from decametre.models.registry import BANDS_FOR_SCALE
from decametre.scenes import load_scenes
from decametre.training.loop import train
from decametre.training.presets import PRESETS


@click.command()
@click.argument("name", type=click.Choice(list(PRESETS)))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--train", "train_on", multiple=True, required=True, help="Product; repeatable.")
@click.option("--val", "validate_on", multiple=True, required=True, help="Product; repeatable.")
@click.option("--steps", type=int, help="Optimizer steps; the preset's by default.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="bfloat16")
def main(
    name: str,
    folder: Path,
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    steps: int | None,
    precision: str,
) -> None:
    """Train the network NAME and leave it in FOLDER."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = PRESETS[name]
    if steps:
        settings = dataclasses.replace(settings, steps=steps)
    bands = [band for names in BANDS_FOR_SCALE[settings.scale].values() for band in names]
    train(
        name,
        settings,
        load_scenes(train_on, bands),
        load_scenes(validate_on, bands),
        folder,
        getattr(torch, precision),
    )


if __name__ == "__main__":
    main()
