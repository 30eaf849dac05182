"""A calibration of the GPU at hand: survey it, fit what every other device is fitted with, write.

The survey (kernels/survey) measures through torch or CuPy; the fits are those of `calibrate`. A
device that no profile carries gets one, whose figures are what was measured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration, PowerCalibration, Provenance
from hardware_profiles.catalogue import SHIPPED, Catalogue
from kernels.backends import Device
from kernels.calibration.device_text import device_text
from kernels.calibration.one_node import cluster_text, node_text, write_profile
from kernels.calibration.profiles import write_calibrations
from kernels.calibration.report import FitReport
from kernels.calibration.run import calibrate
from kernels.calibration.session import Session
from kernels.survey.survey import Survey, SurveyRequest, survey_device

__all__ = ["DeviceOutcome", "calibrate_device"]

logger = logging.getLogger(__name__)

QUICK_S = 95.0
"""What a quick survey may take: fits and start fill up two minutes. [s]"""

LEAST_LOADS = 6
"""Loads that four constants of the power model can be told from. [1]"""

POWER_SPREAD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOutcome:
    """What a calibration of the device at hand leaves."""

    cluster: str
    """Name of the one-node cluster and of its node."""
    reports: tuple[FitReport, ...]
    files: tuple[Path, ...]
    profile_hashes: dict[str, str]


def calibrate_device(
    device: Device,
    out: Path,
    *,
    is_quick: bool,
    profile_dirs: tuple[Path, ...] = (),
    survey: Callable[[SurveyRequest], Survey] = survey_device,
) -> DeviceOutcome:
    """Survey a GPU into `out`, fit, and write accelerator, node and cluster.

    Parameters
    ----------
    device
        What `find_device` found.
    out
        Folder for profiles and, below ``measured``, for the survey; one that was interrupted is
        gone on with.
    is_quick
        Fewer cases, within a time limit.
    profile_dirs
        The user's own profiles.
    survey
        Measures; the real one by default.

    Raises
    ------
    TweelingError
        In one line: the survey's folder holds another device, nothing could be fitted.
    KeyboardInterrupt
        Passed on once it is said where the rest can go on.
    """
    shipped = Catalogue(profile_dirs)
    is_known = shipped.find("accelerator", device.name) is not None
    name = shipped.accelerator(device.name).name if is_known else device.slug
    folder = out / "measured" / name
    if (folder / "environment.json").exists():
        logger.info("going on with the survey in %s", folder)
    done = survey(
        SurveyRequest(
            folder=folder,
            backend=device.backend,
            is_quick=is_quick,
            resumes=True,
            time_limit_s=QUICK_S if is_quick else None,
        )
    )
    if done.ending == "interrupted":
        logger.warning("interrupted: %s in %s; the same command goes on there", done.counts, folder)
        raise KeyboardInterrupt
    files = []
    if not is_known:
        text = device_text(done, name=name, date=_today())
        files.append(write_profile(out / "accelerators" / f"{name}.toml", text))
    catalogue = Catalogue((out, *profile_dirs)) if files else shipped
    session = Session(folder=folder, catalogue=catalogue, cache=out / ".fits")
    result = calibrate(session)
    own = {name: _with_power(result.fitted[name], catalogue.accelerator(name), folder)}
    files += [
        path
        for path in write_calibrations(own, catalogue=catalogue, out=_place(catalogue, name, out))
        if path not in files
    ]
    session.drop_cache()
    title = f"One {device.name}"
    node = f"{name}-node"
    files.append(
        write_profile(
            out / "nodes" / f"{node}.toml",
            node_text(name=node, title=title, accelerator=name, is_host=False),
        )
    )
    files.append(
        write_profile(out / "clusters" / f"{node}.toml", cluster_text(name=node, title=title))
    )
    return DeviceOutcome(
        cluster=node,
        reports=tuple(one for one in result.reports if one.device == name),
        files=tuple(files),
        profile_hashes=session.profile_hashes,
    )


def _place(catalogue: Catalogue, name: str, out: Path) -> Path:
    """Folder below which the accelerator goes: shipped ones keep their place in the tree."""
    is_shipped = catalogue.path("accelerator", name).is_relative_to(SHIPPED)
    return out if is_shipped else out / "accelerators"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _with_power(fitted: Calibration, accelerator: Accelerator, folder: Path) -> Calibration:
    """Power constants from the sustained loads, where the device has a sensor and enough of them.

    What the loads cannot tell stays as the profile has it or as its datasheet suggests.
    """
    if not (folder / "power.csv").is_file():
        return fitted
    # scipy takes long to import.
    from kernels.calibration.power import WRITTEN, device_loads, fit_power
    from kernels.power_prior import device_power

    loads = device_loads(folder / "power.csv", accelerator)
    if len(loads) < LEAST_LOADS:
        logger.warning("power: %d loads are too few for a fit; the prior stays", len(loads))
        return fitted
    found = fit_power(loads)
    base = device_power(accelerator)
    values = {key: found.values[key] for key in WRITTEN}
    errors = sorted(abs(one) for one in found.errors.values())
    provenance = Provenance(
        figure_class="fitted",
        source=f"{len(loads)} sustained loads of the survey, all of them fitted",
        date=_today(),
        n_samples=len(loads),
        relative_spread_fraction=max(POWER_SPREAD, errors[len(errors) // 2]),
    )
    power: PowerCalibration = msgspec.structs.replace(base, provenance=provenance, **values)
    return msgspec.structs.replace(fitted, power=power)
