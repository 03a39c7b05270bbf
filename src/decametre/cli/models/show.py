"""`decametre models show`: the shipped models and their cards."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from decametre.cli.options import json_option
from decametre.errors import UnknownNameError

NOTE = (
    "RMSE/bicubic: root mean square error divided by that of bicubic interpolation, on validation "
    "scenes degraded by the kernel in the column's name (Wald's protocol); less is better. "
    "kFLOP: operations of convolutions for each 10 m pixel."
)


@click.command()
@click.argument("name", required=False)
@json_option
def show(name: str | None, as_json: bool) -> None:
    """List the shipped models, one family of models, or show the card of the model NAME.

    A family is a set of models, one for each scale, that `--model FAMILY` uses together.
    """
    from decametre.superres.models.registry import families, shipped_cards  # imports torch

    cards, members = shipped_cards(), families()
    if name is None:
        listed = members
    elif name in members and name not in cards:
        listed = {name: members[name]}
    elif name in cards:
        click.echo(json.dumps(cards[name].to_stac(), indent=2))
        return
    else:
        raise UnknownNameError("model", name, [*members, *cards])
    if as_json:
        chosen = [cards[model].to_stac() for models in listed.values() for model in models]
        click.echo(json.dumps(chosen, indent=2))
        return
    for line in _table(listed):
        click.echo(line)
    click.echo()
    click.echo(NOTE)


def _table(families: dict[str, list[str]]) -> Iterable[str]:
    """The lines of the table of models, each family with a line on its use."""
    from decametre.superres.models.registry import DEFAULT_FAMILY, USES, load_model, operations

    columns = "{:<16}{:>5}  {:>9}  {:>6}  {:>14}  {:>12}  {}"
    yield columns.format(
        *("model", "scale", "weights", "kFLOP", "RMSE/bic dsen2", "RMSE/bic mtf", "bands")
    )
    for family, models in families.items():
        default = " (default)" if family == DEFAULT_FAMILY else ""
        yield f"\n{family}{default}: {USES.get(family, 'a family of models')}"
        for model in map(load_model, models):
            card = model.card
            ratios = card.ratios_of_kernels
            yield columns.format(
                f"  {card.name}",
                f"{card.scale}x",
                card.parameters,
                round(operations(model) / 1000),
                *(f"{ratios[k]:.3f}" if k in ratios else "" for k in ("dsen2", "mtf")),
                " ".join(card.bands_out),
            )
