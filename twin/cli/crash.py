"""What is left behind when the program itself is wrong: a file with everything a report needs."""

from __future__ import annotations

import os
import platform
import tempfile
import time
import traceback
from pathlib import Path

import click

from hardware_profiles.own_version import tweeling_version

__all__ = ["crash_text", "report_crash", "write_crash_file"]


def report_crash(error: BaseException, *, command: str, is_debugging: bool) -> None:
    """Write a crash file and say on stderr in one line where it is."""
    if is_debugging:
        traceback.print_exception(error)
    what = " ".join(f"{type(error).__name__}: {error}".split())
    try:
        where = f"details in {write_crash_file(error, command=command)}"
    except OSError as refusal:
        where = f"no crash file ({refusal.strerror}); run again with --debug"
    click.echo(f"twin: this is a defect: {what[:200]}; {where}", err=True)


def write_crash_file(error: BaseException, *, command: str) -> Path:
    """Write the crash file into the folder for temporary files and return its path."""
    stem = time.strftime("crash-%Y%m%d-%H%M%S")
    folder = Path(tempfile.gettempdir())
    text = crash_text(error, command=command)
    for name in (f"{stem}.txt", f"{stem}-{os.getpid()}.txt"):
        try:
            # "x": never follow a link that somebody else laid in a shared folder.
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
        return folder / name
    msg = "two crash files of this second exist already"
    raise FileExistsError(17, msg)


def crash_text(error: BaseException, *, command: str) -> str:
    """Command, versions and traceback, as the crash file holds them."""
    lines = [
        f"command: {command}",
        f"tweeling: {tweeling_version()}",
        f"python: {platform.python_version()} on {platform.platform()}",
        f"click: {_installed('click')}  msgspec: {_installed('msgspec')}",
        f"textual: {_installed('textual')}  numpy: {_installed('numpy')}",
        "",
        *traceback.format_exception(error),
    ]
    return "\n".join(line.rstrip("\n") for line in lines) + "\n"


def _installed(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
