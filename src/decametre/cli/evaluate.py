"""`decametre evaluate`: scores at degraded scale, where truth exists."""

from __future__ import annotations

import json
from typing import Any

import click

from decametre.bands import bands_at
from decametre.cli.arguments import offset_option
from decametre.degradation import KERNELS
from decametre.evaluation import SceneScore, mean_ratio, score
from decametre.io.opening import open_product
from decametre.models.card import Card
from decametre.models.registry import models_for
from decametre.scenes import load_scene
from decametre.wald import degrade_scene


@click.command()
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True)
@click.option(
    "--scale",
    type=click.Choice(["2", "6"]),
    default="2",
    show_default=True,
    help="2: the 20 m bands, 40 to 20 m. 6: the 60 m bands, 360 to 60 m.",
)
@click.option(
    "--model",
    multiple=True,
    metavar="NAME|FOLDER",
    help="Model, family or model folder; the default family without.",
)
@click.option(
    "--protocol",
    type=click.Choice(KERNELS),
    default="dsen2",
    show_default=True,
    help="Kernel that degrades the products.",
)
@offset_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def evaluate(
    products: tuple[str, ...],
    scale: str,
    model: tuple[str, ...],
    protocol: str,
    offset: str,
    as_json: bool,
) -> None:
    """Score a model on PRODUCTs by Wald's protocol, beside bicubic interpolation.

    Every band is made coarser by the kernel, the model brings the coarsest bands back to the grid
    on which they were measured, and the RMSE is taken over measured pixels, in DN of 10000 a
    reflectance of 1. That is not the error at 10 m.
    """
    cards: list[Card] = []
    scores: list[list[SceneScore]] = []
    for chosen in models_for(bands_at(10 * int(scale)), model):
        card = chosen.card
        scenes = (load_scene(open_product(product, offset), card.bands) for product in products)
        degraded = [degrade_scene(scene, protocol, card.bands_in) for scene in scenes]
        cards.append(card)
        scores.append(score(chosen.network, card.margin, degraded))
    if as_json:
        click.echo(json.dumps(document(cards, scores, protocol, scale), indent=2))
        return
    for card, found in zip(cards, scores, strict=True):
        click.echo(table(card, found, protocol, scale))


def document(
    cards: list[Card], scores: list[list[SceneScore]], protocol: str, scale: str
) -> dict[str, Any]:
    """All scores as JSON."""
    return {
        "protocol": f"Wald, kernel {protocol}, scale {scale}, masked",
        "models": {
            card.name: {
                "ratio_to_bicubic": mean_ratio(found) if found else None,
                "scenes": {
                    s.scene: {
                        "pixels": s.pixels,
                        "ratio_to_bicubic": s.ratio,
                        "rmse_dn": dict(zip(card.bands_out, s.rmse, strict=True)),
                        "bicubic_rmse_dn": dict(zip(card.bands_out, s.rmse_bicubic, strict=True)),
                    }
                    for s in found
                },
            }
            for card, found in zip(cards, scores, strict=True)
        },
    }


def table(card: Card, scores: list[SceneScore], protocol: str, scale: str) -> str:
    """One model's scores as a Markdown table: RMSE of the model, and of bicubic in brackets."""
    lines = [
        f"{card.name}: RMSE in DN (bicubic); Wald's protocol, kernel {protocol}, scale {scale}",
        "",
        f"| scene | {' | '.join(card.bands_out)} | RMSE / bicubic |",
        f"|---|{'---|' * (len(card.bands_out) + 1)}",
    ]
    for s in scores:
        cells = [f"{a:.1f} ({b:.1f})" for a, b in zip(s.rmse, s.rmse_bicubic, strict=True)]
        lines.append(f"| {s.scene} | {' | '.join(cells)} | {s.ratio:.3f} |")
    if not scores:
        return "\n".join([*lines, "", "no scene has a pixel to score: too small, or too many gaps"])
    ratio = f"{mean_ratio(scores):.3f}"
    return "\n".join(
        [*lines, f"| **mean** | {' | '.join('' for _ in card.bands_out)} | **{ratio}** |"]
    )
