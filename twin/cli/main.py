"""The root of the command line: verbs, exit codes, and what a failure looks like.

Exit codes: 0 done; 1 the answer is no; 2 bad input or an impossible plan; 3 a defect;
130 interrupted; 141 the reader of a pipe left.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterable, Sequence

import click

from hardware_profiles.errors import TweelingError
from twin.cli.lazy_group import LazyGroup, Verb

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_DEFECT",
    "EXIT_DONE",
    "EXIT_INTERRUPTED",
    "EXIT_NO",
    "EXIT_PIPE",
    "VERBS",
    "run",
]

EXIT_DONE = 0
EXIT_NO = 1
EXIT_BAD_INPUT = 2
EXIT_DEFECT = 3
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a device says that takes no more of an output."""

VERBS = (
    Verb(
        name="predict",
        target="twin.cli.predict:predict",
        help="Speed, memory, power and energy of one training configuration.",
    ),
    Verb(
        name="explain",
        target="twin.cli.explain:explain",
        help="The tree of terms behind each predicted number.",
    ),
    Verb(
        name="calibrate",
        target="twin.cli.calibrate:calibrate",
        help="Measure kernels here, fit their models, write profiles.",
    ),
    Verb(
        name="validate",
        target="twin.cli.validate:validate",
        help="Predictions against published measurements.",
    ),
    Verb(
        name="measurements",
        target="twin.cli.measurements:measurements",
        help="Measurements by other tools, turned into the project's tables.",
    ),
    Verb(
        name="roofline",
        target="twin.cli.roofline:roofline",
        help="Measured and predicted kernels against the roofs of a device.",
    ),
    Verb(
        name="profiles",
        target="twin.cli.profiles:profiles",
        help="The facts: accelerators, nodes, clusters and sites.",
    ),
    Verb(
        name="models",
        target="twin.cli.models:models",
        help="The catalogue of models that can be trained.",
    ),
)

EPILOG = "Every verb has --help and --json. `twin predict --help` is the place to start."


def run(arguments: Sequence[str], *, more_verbs: Iterable[Verb] = ()) -> int:
    """Run one command line and return its exit code.

    Parameters
    ----------
    arguments
        The command line without the program's name.
    more_verbs
        Verbs of higher floors, such as ``tui``.
    """
    is_debugging = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        _tolerate_narrow_encodings(stream)
    try:
        code = _invoke(root(more_verbs), words)
        if sys.stdout is not None:  # closed by who called: nothing was to be shown
            sys.stdout.flush()
    except BrokenPipeError:
        return _leave_pipe()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (TweelingError, click.ClickException, click.Abort) as error:
        return _refuse(error, is_debugging=is_debugging)
    except Exception as error:
        if isinstance(error, OSError) and _is_full(error):
            return _refuse_output(error, is_debugging=is_debugging)
        from twin.cli.crash import report_crash

        report_crash(error, command=_typed(words), is_debugging=is_debugging)
        return EXIT_DEFECT
    return code


def root(more_verbs: Iterable[Verb] = ()) -> LazyGroup:
    """The root command with its options."""
    return LazyGroup(
        name="twin",
        verbs=(*VERBS, *more_verbs),
        help="A digital twin of an AI factory: what training on a cluster really delivers.",
        epilog=EPILOG,
        params=[
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_version,
                help="Print the version and leave.",
            ),
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                help="Show the traceback of an error.",
            ),
        ],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def _invoke(group: LazyGroup, words: list[str]) -> int:
    """Call the group without click's own handling of errors and interrupts."""
    try:
        with group.make_context("twin", list(words), obj=_typed(words)) as context:
            code = group.invoke(context)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    return code if isinstance(code, int) else EXIT_DONE


def _typed(words: Sequence[str]) -> str:
    return shlex.join(["twin", *words])


def _print_version(context: click.Context, parameter: click.Parameter, is_asked: bool) -> None:
    del parameter
    if not is_asked:
        return
    from hardware_profiles.own_version import tweeling_version

    click.echo(f"tweeling {tweeling_version()}")
    context.exit()


def _refuse(error: BaseException, *, is_debugging: bool) -> int:
    """Print one line about bad input; a group without a verb prints its help instead."""
    if is_debugging:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return EXIT_BAD_INPUT
    click.echo(f"twin: {_one_line(error)}", err=True)
    return EXIT_BAD_INPUT


def _one_line(error: BaseException) -> str:
    if isinstance(error, click.Abort):
        return "stopped"
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    line = " ".join(text.split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        line = f"{line.rstrip('.')} (see {error.ctx.command_path} --help)"
    return line


def _is_full(error: OSError) -> bool:
    """Whether a stream takes no more: files that cannot be opened name themselves."""
    return error.filename is None and error.errno in NO_ROOM


def _refuse_output(error: OSError, *, is_debugging: bool) -> int:
    """Say in one line that the output went nowhere; what of it is still held goes there too."""
    msg = f"the output cannot be written: {error.strerror}"
    refusal = TweelingError(msg)
    refusal.__cause__ = error
    _drop_output()
    return _refuse(refusal, is_debugging=is_debugging)


def _leave_pipe() -> int:
    _drop_output()
    return EXIT_PIPE


def _drop_output() -> None:
    """Point stdout nowhere, so that the interpreter's last flush does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _tolerate_narrow_encodings(stream: object) -> None:
    """A terminal that knows no Greek shall show a question mark, not an error."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
