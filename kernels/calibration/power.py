"""Power parameters of a device from our own surveys under load.

``python -m kernels.calibration.power`` fits what the power model of the twin needs on the loads of
``kernels/measured/*/power.csv`` of one family together, prints how far each load is, and with
``--write`` puts the values into the profiles of the devices that were surveyed.

The model: P = idle + busy c v^2 (f + w (1 - f)) + e_flop F v^2 + e_byte B, with c the clock over
the boost clock, v = 1 - slope (1 - c) the voltage, f the share of time in which kernels run, F the
weighted rate of arithmetic and B that of memory traffic; w is what a waiting device draws of the
busy power. The same as twin/energy.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

import hardware_profiles
import kernels
from hardware_profiles.accelerator import Accelerator
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.toml_numbers import write_constants
from kernels.power_prior import WAITING_FRACTION

__all__ = [
    "PowerFit",
    "PowerLoad",
    "device_loads",
    "fit_power",
    "predicted_power_w",
    "surveyed_loads",
]

FloatArray = npt.NDArray[np.float64]

MEASURED = Path(kernels.__path__[0]) / "measured"
ACCELERATORS = Path(hardware_profiles.__path__[0]) / "accelerators"

UNUSED = ("gemm_zeros", "idle")
"""Products of zeros switch no wires; a waiting device tells nothing of one that works."""

EMULATED = ("tf32",)
OTHER_KERNELS = ("sdpa-flash",)
"""Attention by instructions that training libraries no longer use on these devices."""

VOLTAGE_SLOPE = 0.4
"""Held: the loads cannot tell it from busy power. From 0 to 0.7 the mean error goes from 5 to 7 %
while busy power falls from 386 to 20 W; 0.7 is what power-limit sweeps of V100 and Turing cards
show, and step times of published runs change by less than their errors. [1]"""

NEEDED = ("tflops", "GBps", "power_w", "clock_mhz")
"""Columns without which a load tells nothing of the model."""

NAMES = (
    "busy_w",
    "energy_per_flop_j",
    "energy_per_hbm_byte_j",
    "low_precision_energy_ratio",
)
START = np.array([150.0, 1.0, 90.0, 0.5])
SCALE = np.array([1.0, 1e-12, 1e-12, 1.0])
LOW = np.array([20.0, 0.3, 20.0, 0.2])
HIGH = np.array([400.0, 3.0, 250.0, 1.0])
WRITTEN = ("busy_w", "energy_per_hbm_byte_j", "low_precision_energy_ratio")
"""The energy of an operation is the prior of a fit on published runs (twin/fitting)."""

ROUNDING = 0.05
"""Relative error below which squares count. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLoad:
    """One load of a survey, as the power model sees it."""

    device: str
    """Name of the profile."""
    case: str
    idle_w: float
    power_w: float
    clock_fraction: float
    """Mean clock over the boost clock. [1]"""
    running_fraction: float
    """Share of time in which kernels run. [1]"""
    flop_per_s: float
    low_precision_flop_per_s: float
    hbm_bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerFit:
    """Fitted parameters, and the relative error of each load."""

    values: dict[str, float]
    errors: dict[str, float]
    """Load to predicted over measured, minus one. [1]"""


def _is_used(row: dict[str, str]) -> bool:
    return (
        row["workload"] not in UNUSED
        and row["dtype"] not in EMULATED
        and not any(name in row["case"] for name in OTHER_KERNELS)
    )


def _load(row: dict[str, str], device: Accelerator) -> PowerLoad:
    rate = float(row["tflops"]) * 1e12
    is_low = row["dtype"] == "fp8"
    return PowerLoad(
        device=device.name,
        case=row["case"],
        idle_w=device.power.idle_w,
        power_w=float(row["power_w"]),
        clock_fraction=float(row["clock_mhz"]) * 1e6 / device.compute.boost_clock_hz,
        running_fraction=float(row["duty"]),
        flop_per_s=0.0 if is_low else rate,
        low_precision_flop_per_s=rate if is_low else 0.0,
        hbm_bytes_per_s=float(row["GBps"]) * 1e9,
    )


def surveyed_loads(folders: Sequence[Path], catalogue: Catalogue) -> tuple[PowerLoad, ...]:
    """Loads of surveys; a folder is named after the profile of its device."""
    found: list[PowerLoad] = []
    for folder in folders:
        found += device_loads(folder / "power.csv", catalogue.accelerator(folder.name))
    return tuple(found)


def device_loads(path: Path, device: Accelerator) -> list[PowerLoad]:
    """Loads of one table of power, those that tell of work and were read by a sensor."""
    with path.open(encoding="utf-8", newline="") as file:
        # A column in which every row has its default is not written.
        rows = [{"duty": "1", **row} for row in csv.DictReader(file) if _is_used(row)]
    return [_load(row, device) for row in rows if all(row.get(key) for key in NEEDED)]


def predicted_power_w(parameters: FloatArray, load: PowerLoad) -> float:
    """Power of a load by the model at the head of this module; parameters as in `NAMES`. [W]"""
    busy_w, per_flop, per_byte, ratio = (float(p) for p in parameters * SCALE)
    voltage = 1.0 - VOLTAGE_SLOPE * (1.0 - load.clock_fraction)
    square = voltage * voltage
    flop = load.flop_per_s + ratio * load.low_precision_flop_per_s
    running = load.running_fraction * load.clock_fraction * square
    waiting = WAITING_FRACTION * (1.0 - load.running_fraction)
    return (
        load.idle_w
        + busy_w * (running + waiting)
        + per_flop * flop * square
        + per_byte * load.hbm_bytes_per_s
    )


def fit_power(loads: Sequence[PowerLoad]) -> PowerFit:
    """Parameters of one family of devices from all its loads."""

    def errors(parameters: FloatArray) -> FloatArray:
        powers = [predicted_power_w(parameters, load) / load.power_w for load in loads]
        return np.array(powers) - 1.0

    found = least_squares(errors, START, bounds=(LOW, HIGH), loss="soft_l1", f_scale=ROUNDING)
    values = dict(zip(NAMES, (float(v) for v in found.x * SCALE), strict=True))
    left = errors(found.x)
    names = (f"{load.device} {load.case}" for load in loads)
    return PowerFit(values=values, errors=dict(zip(names, map(float, left), strict=True)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit the surveyed devices together, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m kernels.calibration.power")
    parser.add_argument("--write", action="store_true", help="write into the profiles")
    options = parser.parse_args(arguments)
    folders = sorted(path.parent for path in MEASURED.glob("*/power.csv"))
    fit = fit_power(surveyed_loads(folders, Catalogue(())))
    lines = [f"{name:28s} {value:.4g}" for name, value in fit.values.items()]
    lines += [f"{name:80s} {error:+.1%}" for name, error in fit.errors.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.write:
        for folder in folders:
            (path,) = ACCELERATORS.rglob(f"{folder.name}.toml")
            values = {name: fit.values[name] for name in WRITTEN}
            write_constants(path, {f"calibration.power.{k}": v for k, v in values.items()})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
