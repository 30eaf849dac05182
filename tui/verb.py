"""The verb ``twin tui``."""

from __future__ import annotations

from pathlib import Path

import click

from twin.cli.profile_folders import told_shadows

__all__ = ["tui"]


@click.command()
@click.argument(
    "scenario",
    metavar="[SCENARIO.toml]",
    required=False,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--from",
    "measurements",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Measured kernels to open on the Kernels screen, as `twin roofline` reads them.",
)
@click.option("--serve", is_flag=True, help="Serve it to a browser on this machine.")
@click.option(
    "--profiles",
    "profile_dirs",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Your own profiles, found first; may be repeated.",
    callback=told_shadows,
)
def tui(
    *,
    scenario: Path | None,
    measurements: tuple[Path, ...],
    serve: bool,
    profile_dirs: tuple[Path, ...],
) -> int:
    """Compose a cluster and see what training on it delivers."""
    from tui.run import run

    return run(scenario, profile_dirs=profile_dirs, measurements=measurements, serve=serve)
