"""The two ways of `twin calibrate`: from files, and by measuring the device at hand."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.cli.import_options import import_request, imported_from

if TYPE_CHECKING:
    from hardware_profiles.catalogue import Catalogue
    from kernels.calibration.report import FitReport
    from kernels.importers.files import ImportedFile
    from kernels.importers.request import ImportRequest

__all__ = ["Calibrated", "fitted_from", "measured_here"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What a calibration leaves, whichever way it went."""

    reports: tuple[FitReport, ...]
    files: tuple[Path, ...]
    profile_hashes: Mapping[str, str]
    cluster: str | None = None
    """The one-node cluster of a device that was measured here."""
    example: str = ""
    """A prediction on it, as it could be typed."""


def fitted_from(
    paths: Sequence[Path], *, out: Path, profile_dirs: tuple[Path, ...], said: Mapping[str, Any]
) -> Calibrated:
    """Fit on measurements of files and folders.

    Raises
    ------
    KeyboardInterrupt
        Passed on once it is said what is kept.
    """
    from hardware_profiles.catalogue import Catalogue
    from kernels.calibration.profiles import write_calibrations, write_family_files
    from kernels.calibration.run import calibrate as run
    from kernels.calibration.session import Session
    from kernels.importers.files import joined_tables

    _require_apart(paths)
    catalogue = Catalogue(profile_dirs)
    request = import_request(
        catalogue, device=said["device"], operation=said["operation"], link=said["link"] or ""
    )
    fits = out / ".fits"
    with _said_when_interrupted(fits):
        first, *others = paths
        imported = imported_from(first, request)
        for path in others:
            imported += _everything_in(path, request)
        session = Session(
            folder=first,
            catalogue=catalogue,
            cache=fits,
            imported=joined_tables(imported),
            request=request,
        )
        result = run(session)
        files = write_calibrations(result.fitted, catalogue=catalogue, out=out)
        files += write_family_files(result.families, out=out)
        session.drop_cache()
    return Calibrated(
        reports=result.reports, files=tuple(files), profile_hashes=session.profile_hashes
    )


def _require_apart(paths: Sequence[Path]) -> None:
    """Refuse a path that is given twice, or is read with its folder already."""
    from kernels.measurement_tables import MeasurementError

    seen: dict[Path, Path] = {}
    for path in sorted(paths, key=lambda one: len(one.resolve().parts)):
        own = path.resolve()
        other = seen.get(own) or seen.get(own.parent)
        if other is not None:
            message = f"--from {path}: read already with --from {other}; its rows would count twice"
            raise MeasurementError(message)
        seen[own] = path


@contextlib.contextmanager
def _said_when_interrupted(fits: Path) -> Iterator[None]:
    """Say in one line what an interrupt leaves, for a run that keeps finished fits in a folder."""
    try:
        yield
    except KeyboardInterrupt:
        n_kept = len(list(fits.glob("*.json")))
        if n_kept:
            logger.warning(
                "interrupted: finished fits (%d) are kept in %s; the same command goes on there",
                *(n_kept, fits),
            )
        else:
            logger.warning("interrupted before a fit was finished: nothing is kept")
        raise


def _everything_in(path: Path, request: ImportRequest) -> list[ImportedFile]:
    """One further file, or all files of a further folder that any format reads."""
    from kernels.importers.files import import_file
    from kernels.measurement_tables import MeasurementError

    if path.is_file():
        return imported_from(path, request)
    if not path.is_dir():
        message = f"--from {path}: no such file or folder"
        raise MeasurementError(message)
    found = imported_from(path, request)
    tables = [file for file in sorted(path.iterdir()) if file.suffix in {".csv", ".parquet"}]
    known = {one.path for one in found}
    return found + [import_file(file, request) for file in tables if file not in known]


def measured_here(
    backend: str | None, *, out: Path, profile_dirs: tuple[Path, ...], is_quick: bool
) -> Calibrated:
    """Measure the device at hand: a GPU through its survey, else one thread of the host."""
    from hardware_profiles.catalogue import Catalogue
    from kernels.backends import find_device, why_missing
    from kernels.calibration.at_hand import calibrate_device
    from kernels.host.calibrate import calibrate_host

    device = find_device(backend)
    if device.backend != "cpu":
        done = calibrate_device(device, out, is_quick=is_quick, profile_dirs=profile_dirs)
        return Calibrated(
            reports=done.reports,
            files=done.files,
            profile_hashes=done.profile_hashes,
            cluster=done.cluster,
            example=_example(done.cluster, out, profile_dirs, "--model llama-3-8b --seq-len 2048"),
        )
    if backend in {None, "auto"}:
        reasons = "; ".join(f"{name}: {why_missing(name)}" for name in ("cuda", "rocm"))
        logger.info("no GPU to measure (%s): measuring one thread of the processor", reasons)
    host = calibrate_host(out, is_quick=is_quick)
    catalogue = Catalogue((out, *profile_dirs))
    return Calibrated(
        reports=host.reports,
        files=host.files,
        profile_hashes=_hashes(catalogue, host.cluster),
        cluster=host.cluster,
        example=_example(
            host.cluster,
            out,
            profile_dirs,
            "--model gpt2-124m --seq-len 256 --precision fp32 --framework numpy",
        ),
    )


def _hashes(catalogue: Catalogue, name: str) -> dict[str, str]:
    return dict(catalogue.machine(name).profile_hashes)


def _example(cluster: str, out: Path, profile_dirs: Sequence[Path], rest: str) -> str:
    folders = " ".join(f"--profiles {shlex.quote(str(folder))}" for folder in (out, *profile_dirs))
    return f"twin predict --cluster {cluster} {folders} --devices 1 --global-batch 1 {rest}"
