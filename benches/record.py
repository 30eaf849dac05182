"""What stands in `extra_info` of every bench of a kernel: one scheme for all families.

docs/benches.md describes the keys. What is not known is null, and `reasons` says why, by key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import TweelingError
from kernels.backends import Device
from kernels.benched.case import KernelCase
from kernels.families.inheritance import completed_calibration
from kernels.importers.tidy_rows import FAMILIES, column_table, columns_of
from kernels.prediction.registry import row_predictor
from twin.roofline import device_roofs, roof_s

SCHEME_VERSION = 1
UNITS_KEYS = ("roofline_fraction", "predicted_time_s", "prediction_error_fraction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The figures that a device is predicted from, or why there are none."""

    accelerator: Accelerator | None = None
    calibration: Calibration | None = None
    why_none: str = ""

    @property
    def name(self) -> str | None:
        """Name of the profile; None where the device has none."""
        return None if self.accelerator is None else self.accelerator.name


def find_profile(device: Device, catalogue: Catalogue, *, named: str | None = None) -> Profile:
    """Profile of a device: the one named, or that of its name.

    A processor of the name that a survey of ours was made on may have other cores and another
    clock: it is nobody's profile either, unless the user says so.

    Parameters
    ----------
    device
        The device at hand.
    catalogue
        The user's profiles and those that come along.
    named
        What the user says it is; an unknown name is an error.
    """
    if named is not None:
        accelerator = catalogue.accelerator(named)
    elif catalogue.find("accelerator", device.name) is not None:
        accelerator = catalogue.accelerator(device.name)
    else:
        why = f"no profile carries the name {device.name!r}: `twin calibrate` makes one for"
        why += " --profiles, and --device says which other one to take"
        return Profile(why_none=why)
    return Profile(accelerator=accelerator, calibration=completed_calibration(accelerator))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was measured of one contender of a case."""

    case: KernelCase
    library: str
    framework: str
    median_s: float
    n_inner: int = 1
    vendor_s: dict[str, float] = field(default_factory=dict)
    """Medians of vendor libraries in the same rounds, by name. [s]"""
    why_no_vendor: str = ""
    copy_bandwidth_bytes_per_s: float | None = None
    """Of a copy timed in the same rounds, for memory-bound kernels."""
    energy_per_launch_j: float | None = None
    why_no_energy: str = ""
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """Where it was measured: the same for all benches of a session."""

    device: Device
    profile: Profile
    n_threads: int
    clock: str
    driver: str | None
    packages: dict[str, str]


def bed_info(bed: Bed) -> dict[str, object]:
    """Keys of the scheme that say where something was measured."""
    return {
        "scheme_version": SCHEME_VERSION,
        "device": bed.device.name,
        "profile": bed.profile.name,
        "backend": bed.device.backend,
        "architecture": bed.device.architecture,
        "driver": bed.driver,
        "packages": bed.packages,
        "n_threads": bed.n_threads,
        "clock": bed.clock,
    }


def why_no_driver(bed: Bed) -> str:
    """Why `driver` is null."""
    return "the host has none" if bed.device.backend == "cpu" else "not readable"


def extra_info(outcome: Outcome, bed: Bed) -> dict[str, object]:
    """Every key of the scheme for one bench."""
    case, median_s = outcome.case, outcome.median_s
    reasons: dict[str, str] = {}
    predicted_s = _predicted_s(outcome, bed, reasons)
    roofline = _roofline_fraction(outcome, bed, reasons)
    if not outcome.vendor_s:
        reasons["vendor_ratio"] = outcome.why_no_vendor or "this is the vendor's library"
    if outcome.energy_per_launch_j is None:
        reasons["energy_per_launch_j"] = outcome.why_no_energy
    if bed.driver is None:
        reasons["driver"] = why_no_driver(bed)
    columns = {"causal": False} if case.family == "attention" else {}
    bandwidth = outcome.copy_bandwidth_bytes_per_s
    return {
        **bed_info(bed),
        "framework": outcome.framework,
        "library": outcome.library,
        "n_inner": outcome.n_inner,
        "family": case.family,
        "op": case.op,
        "direction": case.direction,
        "dtype": case.dtype,
        "role": case.role,
        **columns,
        **case.shape,
        **{key: value for key, value in case.details.items() if key == "layout"},
        "flop": case.flop,
        "bytes": case.traffic_bytes,
        "flop_per_s": case.flop / median_s,
        "bytes_per_s": case.traffic_bytes / median_s,
        "roofline_fraction": roofline,
        "vendor_ratio": min(outcome.vendor_s.values()) / median_s if outcome.vendor_s else None,
        "copy_bandwidth_fraction": (
            None if bandwidth is None else case.traffic_bytes / median_s / bandwidth
        ),
        "predicted_time_s": predicted_s,
        "prediction_error_fraction": None if predicted_s is None else predicted_s / median_s - 1.0,
        "energy_per_launch_j": outcome.energy_per_launch_j,
        **outcome.details,
        "reasons": reasons,
    }


def _why_not_comparable(bed: Bed) -> str | None:
    """Say why the figures of the profile are not those of what ran; None where they are."""
    if bed.profile.accelerator is None:
        return bed.profile.why_none
    n_units = bed.profile.accelerator.compute.n_units
    if bed.device.backend == "cpu" and bed.n_threads != n_units:
        name = bed.profile.name
        return f"profile {name} is of {n_units} cores together; this ran on {bed.n_threads}"
    return None


def _roofline_fraction(outcome: Outcome, bed: Bed, reasons: dict[str, str]) -> float | None:
    """Share of what peak and bandwidth of the datasheet allow. [1]"""
    case, why = outcome.case, _why_not_comparable(bed)
    if why is None and bed.profile.accelerator is not None:
        roofs = device_roofs(bed.profile.accelerator)
        level = "link" if case.family == "collectives" else "memory"
        bandwidth = roofs.bytes_per_s(level)
        peak = roofs.peak_flop_per_s(case.dtype) if case.flop > 0.0 else 1.0
        if bandwidth is not None and peak is not None:
            least_s = roof_s(
                case.flop, case.traffic_bytes, peak_flop_per_s=peak, bytes_per_s=bandwidth
            )
            return least_s / outcome.median_s
        what = f"no {level} bandwidth" if bandwidth is None else f"no peak of {case.dtype}"
        why = f"profile {bed.profile.name} has {what}"
    reasons["roofline_fraction"] = str(why)
    return None


def _predicted_s(outcome: Outcome, bed: Bed, reasons: dict[str, str]) -> float | None:
    """What the kernel models say of the case for the library that ran it. [s]"""
    case, why = outcome.case, _why_not_comparable(bed)
    if why is None and case.shape.get("window") is not None:
        why = "the models know no sliding windows"
    if why is None:
        predicted = _predicted(outcome, bed)
        if math.isfinite(predicted) and predicted > 0.0:
            return case.traffic_bytes / predicted if case.family == "membw" else predicted
        why = f"profile {bed.profile.name} has no constants for {case.op} in {case.dtype}"
        if case.family == "collectives":
            why = f"the models do not know the wires {case.shape['link']!r}"
    reasons["predicted_time_s"] = reasons["prediction_error_fraction"] = why
    return None


def _predicted(outcome: Outcome, bed: Bed) -> float:
    """One row through the predictor of its family; NaN where nothing covers it. [s or byte/s]"""
    case = outcome.case
    known = {
        **case.shape,
        **{key: value for key, value in case.details.items() if key == "layout"},
        "device": bed.profile.name,
        "op": case.op,
        "direction": case.direction,
        "dtype": case.dtype,
        "library": outcome.library,
        "latency_us": outcome.median_s * 1e6,
        "GBps": case.traffic_bytes / outcome.median_s / 1e9,
    }
    chosen = {name: known[name] for name in columns_of(case.family) if name in known}
    table = column_table(case.family, [FAMILIES[case.family](**chosen)])
    predict = row_predictor(case.family, n_rows=1)
    return float(predict(table, bed.profile.accelerator, bed.profile.calibration)[0])


def catalogue_of(folders: list[str]) -> Catalogue:
    """The catalogue with the user's folders in front; one that is missing is an error."""
    for folder in folders:
        if not Path(folder).is_dir():
            msg = f"--profiles {folder}: no such folder"
            raise TweelingError(msg)
    return Catalogue([Path(folder) for folder in folders])
