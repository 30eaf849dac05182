"""What every --profiles does: say which of the user's files hide or replace which others."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["told_shadows"]


def told_shadows(
    _context: click.Context, _option: click.Parameter, folders: tuple[Path, ...]
) -> tuple[Path, ...]:
    """The folders as they are; a line on stderr for what hides or replaces other profiles.

    A figure of the wrong device looks like any other, so a prediction must not be silent about it.

    Raises
    ------
    ProfileError
        A folder is not there.
    """
    if folders:
        # Parsers of profiles take long to import; `twin --help` does without.
        from hardware_profiles.shadows import replacements, shadows

        for line in (*shadows(folders), *replacements(folders)):
            click.echo(f"twin: {line}", err=True)
    return folders
