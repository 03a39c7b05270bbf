"""Pages of the documentation that are generated: a hook of mkdocs.

* `reference/cli.md`: every command and every option, from the command line's own declarations.
* `reference/python.md`: every public name, from the docstrings.
* `project/`: the documents at the root of the repository, with their links rewritten.
* `examples/`: files that the manual links to.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import decametre
from decametre.cli.main import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("DESIGN.md", "CONTRIBUTING.md", "CHANGES.md", "SECURITY.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"reference/cli.md": cli_reference(), "reference/python.md": python_reference()}
    for name in DOCUMENTS:
        pages[f"project/{name}"] = with_links_of_the_site((ROOT / name).read_text(), "../")
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for path in (ROOT / "examples").rglob("*.*"):
        if path.is_file() and path.suffix in {".yaml", ".sh"}:
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links from docs/ to examples/ stay inside the site."""
    return re.sub(r"\]\(\.\./((?:\.\./)?)examples/", r"](\1examples/", markdown)


def with_links_of_the_site(text: str, up: str) -> str:
    """Rewrite links of a document at the root of the repository."""
    return text.replace("](docs/", f"]({up}").replace("](examples/", f"]({up}examples/")


def python_reference() -> str:
    """A page of all public names of `decametre`."""
    names = [name for name in decametre.__all__ if name != "__version__"]
    entries = []
    for name in names:
        value = getattr(decametre, name)
        module = inspect.getmodule(value)
        assert module is not None
        path = f"{module.__name__}.{value.__name__}"
        entries.append(f"::: {path}\n    options:\n      heading: decametre.{name}\n")
    return (
        "# Python\n\nEverything here is available as `decametre.NAME`, and imported when it is"
        " first used.\n\n" + "\n".join(entries)
    )


def cli_reference() -> str:
    """A page of all commands."""
    context = click.Context(cli, info_name="decametre")
    return "# Command line\n\n" + "\n".join(_sections(cli, context))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(command, click.Group):
        if context.parent is not None:
            yield f"## {context.command_path}\n\n{_escaped(inspect.cleandoc(command.help or ''))}\n"
        else:
            yield f"```\n{command.get_usage(context)}\n```\n\n{_options(command, context)}"
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member is not None
            yield from _sections(member, click.Context(member, context, info_name=name))
        return
    level = "##" if context.command_path.count(" ") == 1 else "###"
    yield (
        f"{level} {context.command_path}\n\n"
        f"```\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n\n"
        f"{_escaped(inspect.cleandoc(command.help or ''))}\n\n{_options(command, context)}"
    )


def _options(command: click.Command, context: click.Context) -> str:
    rows = [
        record for option in command.get_params(context) if (record := _record(option, context))
    ]
    if not rows:
        return ""
    lines = [f"| `{names}` | {_cell(text)} |" for names, text in rows]
    return "| option | |\n|---|---|\n" + "\n".join(lines) + "\n"


def _record(option: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    if not isinstance(option, click.Option):
        return None
    record = option.get_help_record(context)
    return record and (record[0].replace("|", "\\|"), record[1])


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|").replace("\n", " ")


def _escaped(text: str) -> str:
    """Text of `--help` as Markdown: click's marks removed, HTML and emphasis escaped."""
    text = text.replace("\b\n", "").replace("\f", "")
    return re.sub(r"([<>*\[\]])", r"\\\1", text)
