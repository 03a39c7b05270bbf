"""The command `decametre`: verbs, error messages and exit statuses.

Exit status 0: success. 2: a user's mistake, with one line on standard error. 1: an error of
decametre, with a traceback to report.
"""

from __future__ import annotations

import errno
import logging
import signal
import sys
from contextlib import suppress
from types import FrameType

import click
from rich.logging import RichHandler

from decametre.allocator import keep_freed_memory
from decametre.cli.console import STDERR, StderrHandler
from decametre.cli.lazy import LazyGroup
from decametre.errors import DecametreError
from decametre.version import __version__

NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""A full disk, or a full quota, which Windows does not have."""

VERBS = (
    *("info", "sharpen", "train", "evaluate", "patches", "landcover", "fleet"),
    *("view", "models", "examples", "env", "bench"),
)
"""Each verb is a module of this package with a command of the same name."""


@click.group(
    cls=LazyGroup,
    members={verb: f"decametre.cli.{verb}.{verb}" for verb in VERBS},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="decametre")
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors on standard error.")
def cli(quiet: bool) -> None:
    """Sharpen all Sentinel-2 bands to 10 m, and map land cover from the result."""
    handler: logging.Handler = (
        RichHandler(console=STDERR, show_path=False, show_level=False, log_time_format="%H:%M:%S")
        if STDERR.is_terminal
        else StderrHandler()
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("decametre").setLevel(logging.WARNING if quiet else logging.INFO)


def main(command: click.Command = cli) -> None:
    """Run a command line and exit.

    Args:
        command: The command that handles the arguments of the process.
    """
    keep_freed_memory()
    signals = [signal.SIGTERM]
    if sys.platform != "win32":
        signals.append(signal.SIGHUP)
    for number in signals:
        # nohup ignores SIGHUP
        if number == signal.SIGTERM or signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    status = run(command)
    for number in signals:
        signal.signal(number, signal.SIG_IGN)  # only the exit remains
    sys.exit(status)


def run(command: click.Command) -> int:
    """Run a command line, print an error as one line, and return the exit status."""
    try:
        command.main(standalone_mode=False)
    except DecametreError as error:
        return _report_error(": ".join([*getattr(error, "__notes__", []), str(error)]))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _report_error(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _print_error("decametre: interrupted; no result was left half-written")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return _report_error(f"cannot write: {error.strerror}; free some space")
        logging.getLogger("decametre").exception(
            "this is an error of decametre; please report it with the output of `decametre env`"
        )
        return 1
    return 0


def _report_error(message: str) -> int:
    _print_error(f"decametre: error: {' '.join(message.split())}")
    return 2


def _print_error(line: str) -> None:
    """Write a line to standard error, if it can be written."""
    with suppress(OSError):
        click.echo(line, err=True)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that partial files are removed."""
    raise KeyboardInterrupt
