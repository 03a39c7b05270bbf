"""`decametre fleet predict`: the land cover of many products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from decametre import api
from decametre.cli.fleet.inputs import input_arguments, take_entries
from decametre.cli.fleet.running import conclude, running_options, shown, take_options
from decametre.cli.mapping_options import mapping_options


@click.command()
@input_arguments
@click.argument("out", type=click.Path(path_type=Path))
@mapping_options
@running_options
def predict(out: Path, model: Path, **given: Any) -> None:
    """Map the land cover of many products, each into a folder of its own in OUT.

    INPUT is as for `decametre fleet sharpen`.
    """
    entries, options = take_entries(given, out), take_options(given)
    with shown("classifying") as notify:
        result = api.fleet_predict(entries, out, model, options=options, notify=notify, **given)
    conclude(result, out)
