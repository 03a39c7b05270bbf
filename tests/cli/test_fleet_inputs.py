"""INPUT and the search options of the fleet verbs."""

import click
import pytest
from click.testing import CliRunner

from decametre.cli.fleet.inputs import input_argument, out_argument, read_entries
from decametre.cli.options import options
from decametre.errors import FleetError
from decametre.fleet.inputs.options import SearchOptions
from tests.fleet.servers import derived_items, stac_api


@click.command()
@input_argument
@out_argument
@options(SearchOptions, into="terms")
def verb(source, out, terms):
    for entry in read_entries(source, terms, out):
        click.echo(entry.name)


def run(*arguments):
    return CliRunner().invoke(verb, [str(each) for each in arguments])


def test_input(tmp_path):
    (tmp_path / "products.txt").write_text("/a/X.SAFE\n/a/Y.SAFE")
    assert run(tmp_path / "products.txt", tmp_path / "out").output == "X\nY\n"


def test_search_in_place_of_input(sample_item, tmp_path):
    with stac_api(derived_items(sample_item), ["sentinel-2-l2a"]) as (url, searches):
        options = "--bbox", "-10,50,12.9,60", "--datetime", "2023-05/2023-06", "--cloud-cover", "20"
        result = run("--search", url, *options, "--collection", "sentinel-2-l2a", tmp_path / "out")
    assert result.output == "T33UUB_0\nT33UUB_1\n"
    assert searches[-1]["bbox"] == [-10, 50, 12.9, 60]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["out"], "give INPUT or --search URL, one of the two"),
        (["a", "out", "--search", "http://b", "--datetime", "2023"], "one of the two"),
        (["a.SAFE", "b.SAFE", "out"], "2 INPUTs; give one"),
        (["a", "out", "--cloud-cover", "0"], "--cloud-cover and --collection need --search"),
        (["a", "out", "--bbox", "1,2,3"], "'1,2,3' is not WEST,SOUTH,EAST,NORTH"),
        (["out", "--search", "http://b", "--cloud-cover", "101"], "101"),
        ([], "Missing argument 'OUT'"),
    ],
)
def test_usage_errors(arguments, expected):
    result = run(*arguments)
    assert result.exit_code == 2
    assert expected in " ".join(result.output.split())


def test_errors_of_the_list_are_raised():
    result = run("gone.txt", "out")
    assert isinstance(result.exception, FleetError)
