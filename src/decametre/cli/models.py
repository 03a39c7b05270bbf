"""`decametre models`: the shipped models and their cards."""

from __future__ import annotations

import json

import click

from decametre.cli.options import json_option
from decametre.errors import UnknownNameError


@click.command()
@click.argument("name", required=False)
@json_option
def models(name: str | None, as_json: bool) -> None:
    """List the shipped models, or show the card of the model NAME."""
    from decametre.superres.models.registry import shipped_cards  # torch, which help does not need

    cards = shipped_cards()
    if name is not None:
        if name not in cards:
            raise UnknownNameError("model", name, cards)
        click.echo(json.dumps(cards[name].to_stac(), indent=2))
        return
    if as_json:
        click.echo(json.dumps([card.to_stac() for card in cards.values()], indent=2))
        return
    click.echo(f"{'name':<12} {'scale':<6} {'weights':>9}  {'RMSE/bicubic':<13} bands")
    for card in cards.values():
        ratio = card.scores.get("rmse_ratio_to_bicubic")
        shown = "" if ratio is None else f"{ratio:.3f}"
        click.echo(
            f"{card.name:<12} {card.scale:<6} {card.parameters:>9}  {shown:<13} "
            f"{' '.join(card.bands_out)}"
        )
    click.echo("RMSE/bicubic: at degraded scale (Wald's protocol); see the card for scenes, kernel")
