"""Options that say of files in other formats what they do not say themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hardware_profiles.catalogue import Catalogue
    from kernels.importers.files import ImportedFile
    from kernels.importers.request import ImportRequest

__all__ = ["file_options", "import_options", "import_request", "imported_from"]

logger = logging.getLogger(__name__)

Command = TypeVar("Command", bound=Callable[..., Any])

_DEVICE = click.option(
    "--device",
    metavar="PROFILE",
    help="Accelerator of rows whose device no profile carries, or is not told.",
)
_OPTIONS = (
    click.option(
        "--operation",
        metavar="OP",
        help="Collective of an nccl-tests output that does not name its test, such as all_reduce.",
    ),
    click.option(
        "--link",
        metavar="TEXT",
        default="",
        help="Wires of the nodes of collectives that do not tell them, such as 'NVLink4+NVSwitch'.",
    ),
)


def import_options(command: Command) -> Command:
    """Add --device, --operation and --link to a verb."""
    return _DEVICE(file_options(command))


def file_options(command: Command) -> Command:
    """Add --operation and --link to a verb whose --device says more."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def import_request(
    catalogue: Catalogue, *, device: str | None, operation: str | None, link: str
) -> ImportRequest:
    """What the options say, checked before any file is read."""
    from kernels.importers.request import ImportRequest

    return ImportRequest(catalogue=catalogue, device=device, operation=operation, link=link)


def imported_from(path: Path, request: ImportRequest) -> list[ImportedFile]:
    """The file in any format, or those files of a folder that are in a foreign one."""
    from kernels.importers.files import foreign_files, import_file

    paths = foreign_files(path) if path.is_dir() else [path] if path.is_file() else []
    found = []
    for file in paths:
        one = import_file(file, request)
        rows = ", ".join(f"{n_rows:,} of {family}" for family, n_rows in one.n_rows.items())
        logger.info("%s: %s, rows: %s", file.name, one.format, rows)
        found.append(one)
    return found
