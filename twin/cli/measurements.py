"""`twin measurements`: what other tools measured, turned into the project's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twin.cli.import_options import import_options, import_request
from twin.cli.output import current_command, emit_json, progress_on_stderr, table
from twin.cli.scenario_options import profiles_option

if TYPE_CHECKING:
    from hardware_profiles.catalogue import Catalogue
    from kernels.importers.files import ImportedFile
    from kernels.measurement_tables import Table

__all__ = ["measurements"]


@click.group()
def measurements() -> None:
    """Measurements of kernels by other tools, as the project's tables."""


@measurements.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the tables: gemm.csv, attention.csv, collectives.csv, ops.csv, membw.csv.",
)
@click.option("--replace", "may_replace", is_flag=True, help="Write over tables that are there.")
@import_options
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def import_measurements(
    *,
    files: tuple[Path, ...],
    out: Path,
    may_replace: bool,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
    **said: str | None,
) -> int:
    """Turn files of other tools into tidy tables, all of them or none.

    A FILE is JSON of pytest-benchmark, output of nccl-tests, rccl-tests or mamf-finder, a table of
    NeuSight, AIConfigurator or SimuMax, or a tidy table; its content tells which.
    """
    from hardware_profiles.catalogue import Catalogue
    from kernels.importers.export import write_tables
    from kernels.importers.files import import_file, joined_tables

    request = import_request(
        Catalogue(profile_dirs),
        device=said["device"],
        operation=said["operation"],
        link=said["link"] or "",
    )
    with progress_on_stderr():
        found = [import_file(file, request) for file in files]
    tables = joined_tables(found)
    hashes = _hashes(tables, request.catalogue)
    written = write_tables(tables, out, may_replace=may_replace)
    if as_json:
        entries = [
            {"path": str(one.path), "format": str(one.format), "rows": one.n_rows} for one in found
        ]
        payload = {"imported": entries, "files": [str(file) for file in written]}
        emit_json(payload, command=current_command(), profile_hashes=hashes)
    else:
        click.echo("\n".join(_lines(found, written)))
    return 0


def _hashes(tables: Mapping[str, Table], catalogue: Catalogue) -> dict[str, str]:
    """SHA-256 of the profiles that rows were found to be of. [hex]"""
    devices = {str(text) for table in tables.values() for text in table["device"].tolist()}
    hashes: dict[str, str] = {}
    for device in sorted(devices):
        if catalogue.find("accelerator", device) is not None:
            hashes |= catalogue.load("accelerator", device).hashes
    return hashes


def _lines(found: Sequence[ImportedFile], written: Sequence[Path]) -> list[str]:
    cells = [
        [str(one.path), str(one.format), family, f"{n_rows:,}"]
        for one in found
        for family, n_rows in one.n_rows.items()
    ]
    header = ["file", "format", "table", "rows"]
    names = ", ".join(str(file) for file in written)
    return [*table(cells, align="lllr", header=header), "", f"written: {names}"]
