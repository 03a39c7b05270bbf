"""Options of the command line, made from models."""

from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner
from pydantic import Field

from decametre.cli.main import cli
from decametre.cli.options import options
from decametre.options import FilePath, FilePaths, Names, Options, Text, words_of

OPTION_NAMES = {
    "info": "--offset --json",
    "sharpen": (
        "--window --bbox --aoi --crop --bands --offset --model --device --precision --consistent "
        "--self-check --encoding --compression --split-bands --masks --mask-clouds --quicklook "
        "--tile --overwrite"
    ),
    "train": "--train --validation --set --device --precision --out --init --resume --show",
    "evaluate": (
        "--scale --model --protocol --window --offset --device --full-scale --out --overwrite "
        "--json"
    ),
    "patches extract": (
        "--patches --stride --label-column --labels --label-names --label-share --classes "
        "--native --no-native --exclude --no-cloud --no-shadow --no-snow --limit "
        "--skip-misfits --offset --sharpened --sharpen --model --device --workers --overwrite"
    ),
    "patches label": "--offset --overwrite",
    "patches plan": "--workers --exclude --json",
    "patches import": "--metadata --classes --exclude --split --skip-damaged --overwrite",
    "patches merge": "--consolidate --overwrite",
    "patches info": "--json",
    "landcover evaluate": (
        "--model --split --thresholds --tune-on --calibrate --keep-thresholds --device --out "
        "--overwrite --json"
    ),
    "landcover predict": (
        "--window --bbox --aoi --crop --model --stride --offset --sharpen-with --least-data "
        "--encoding --geojson --no-geojson --device --precision --sharpened --overwrite"
    ),
    "fleet sharpen": (
        "--search --bbox --datetime --cloud-cover --collection --aoi --crop --bands --offset "
        "--model --device --precision --consistent --self-check --encoding --compression "
        "--split-bands --masks --mask-clouds --quicklook --tile "
        "--workers --cluster --scheduler --redo --retries --stage-to --interval"
    ),
    "fleet extract": (
        "--search --bbox --datetime --cloud-cover --collection --sharpened --patches --stride "
        "--label-column --labels --label-names --label-share --classes --native --no-native "
        "--exclude --no-cloud --no-shadow --no-snow --limit --skip-misfits --offset --workers "
        "--cluster --scheduler --redo --retries --stage-to --interval"
    ),
    "fleet predict": (
        "--search --bbox --datetime --cloud-cover --collection --aoi --crop --model --stride "
        "--offset --sharpen-with --least-data --encoding --geojson --no-geojson --device "
        "--precision --workers --cluster --scheduler --redo --retries --stage-to --interval"
    ),
    "fleet status": "--json",
    "fleet report": "--output",
    "fleet plan": (
        "--measured --seconds --threads --gpus --input-gb --output-gb --utilisation --json"
    ),
    "models show": "--json",
    "models export": "--format --precision --form --offset --overwrite",
    "models import": "--release --overwrite",
    "env": "--json",
    "bench sharpen": "--cache --size --tile --json",
    "bench train": "--train --validation --set --device --precision --steps --json",
    "bench scaling": (
        "--train --validation --set --device --precision --ranks --steps --repeat --latency "
        "--bandwidth --overlap --out --json"
    ),
    "bench balance": (
        "--train --validation --set --device --precision --ratios --steps --repeat --out --json"
    ),
}
"""Names of all options by verb. Scripts rely on them: names may be added, never removed."""


def pair(text: str) -> tuple[str, int]:
    key, sign, number = text.partition("=")
    if not sign:
        raise ValueError(f"'{text}' is not KEY=NUMBER")
    return key, int(number)


class Example(Options):
    """One option of every kind."""

    flag: bool = False
    """A flag; see `share`."""
    switch: bool = True
    choice: Literal["one", "two"] = "one"
    number: Literal[2, 6] | None = None
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    count: Annotated[int | None, Field(ge=1), Text(default="all cores")] = None
    name: Annotated[Names, Text(metavar="NAME")] = ()
    path: FilePath | None = None
    paths: FilePaths = ()
    pairs: Annotated[
        dict[str, int], Text(metavar="K=N", parse=pair, flag="--set", unique=True)
    ] = {}  # noqa: RUF012
    free: Annotated[dict[str, int], Text(metavar="K=N", parse=pair)] = {}  # noqa: RUF012
    word_list: Annotated[
        tuple[str, ...], Text(parse=lambda text: tuple(text.split(",")), repeatable=False)
    ] = ("a", "b")


@click.command()
@options(Example)
def command(options: Example) -> None:
    click.echo(repr(options))


def run(*words: str) -> Any:
    return CliRunner().invoke(command, words, terminal_width=200)


def given(*words: str) -> Example:
    """The options that the command receives."""
    received = []

    @click.command()
    @options(Example, into="example")
    def command(example: Example) -> None:
        received.append(example)

    command.main(list(words), standalone_mode=False)
    return received[0]


def test_no_words_give_the_defaults():
    assert given() == Example()


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["--flag", "--no-switch"], {"flag": True, "switch": False}),
        (["--choice", "two", "--number", "6"], {"choice": "two", "number": 6}),
        (["--share", "1", "--count", "3"], {"share": 1.0, "count": 3}),
        (["--name", "a", "--name", "b"], {"name": ("a", "b")}),
        (["--path", "x"], {"path": Path("x")}),
        (["--paths", "x", "--paths", "y"], {"paths": (Path("x"), Path("y"))}),
        (["--set", "a=1", "--set", "b=2"], {"pairs": {"a": 1, "b": 2}}),
        (["--free", "a=1", "--free", "a=2"], {"free": {"a": 2}}),
        (["--word-list", "c,d"], {"word_list": ("c", "d")}),
    ],
)
def test_words_become_values_and_values_words(words, values):
    options = Example(**values)
    assert given(*words) == options
    assert given(*words_of(options)) == options


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--choice", "three"], "'--choice': 'three' is not one of 'one', 'two'"),
        (["--number", "3"], "'--number'"),
        (["--share", "nan"], "not a finite number"),
        (["--share", "inf"], "'--share'"),
        (["--share", "2"], "2.0 is not in the range 0<=x<=1"),
        (["--count", "0"], "0 is not in the range x>=1"),
        (["--set", "a"], "'a' is not KEY=NUMBER"),
        (["--set", "a=1", "--set", "a=2"], "'a' is given twice"),
    ],
)
def test_a_wrong_value_is_an_error_of_the_option(words, expected):
    result = run(*words)
    assert result.exit_code == 2
    assert expected in result.output


def test_help_shows_what_the_model_declares():
    lines = {line.split()[0]: line for line in run("--help").output.splitlines() if "--" in line}
    assert "A flag; see --share." in lines["--flag"]
    assert "[default: one]" in lines["--choice"]
    assert "[default: 0.5; 0<=x<=1]" in lines["--share"]
    assert "(all cores)" in lines["--count"]
    assert "Repeatable." in lines["--name"]
    assert "(a,b)" in lines["--word-list"]
    assert "--switch / --no-switch" in lines["--switch"]


def test_excluded_options_do_not_exist():
    @click.command()
    @options(Example, exclude={"flag"})
    def command(options: Example) -> None:
        click.echo(options.flag)

    assert CliRunner().invoke(command, []).output == "False\n"
    assert "No such option" in CliRunner().invoke(command, ["--flag"]).output


def test_errors_of_the_model_name_the_option():
    class Even(Options):
        half_size: Annotated[int, Field(multiple_of=2)] = 2

    @click.command()
    @options(Even)
    def command(options: Even) -> None:
        raise AssertionError

    output = CliRunner().invoke(command, ["--half-size", "3"]).output
    assert "Invalid value for --half-size: must be a multiple of 2, not 3" in output


def commands(command: click.Command, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {" ".join(path): command}
    context = click.Context(command)
    found = {}
    for name in command.list_commands(context):
        found |= commands(command.get_command(context, name), (*path, name))
    return found


def test_no_verb_lost_an_option():
    found = commands(cli)
    for verb, names in OPTION_NAMES.items():
        parameters = [p for p in found[verb].params if isinstance(p, click.Option)]
        present = {name for each in parameters for name in (*each.opts, *each.secondary_opts)}
        assert not set(names.split()) - present, verb


def test_every_option_has_a_sentence_of_help():
    for verb, command in commands(cli).items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (verb, parameter.name)
                assert parameter.help.rstrip().endswith((".", "..")), (verb, parameter.help)
