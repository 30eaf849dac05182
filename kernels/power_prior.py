"""Power parameters of a device that nobody has measured.

Cards of a known silicon take its constants: an operation costs the same energy, less at a lower
boost clock for its lower voltage, and their units draw the same each. A card with half the board
limit is then held to a lower clock than the part with the whole; how much lower nobody here has
measured, and the spread says so. Other devices are taken to demand somewhat more than their limit,
as every measured part does.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import PowerCalibration, Provenance
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import ProfileError

__all__ = ["WAITING_FRACTION", "PowerPrior", "device_power", "power_hashes"]

FOLDER = Path(__file__).parent

WAITING_FRACTION = 0.35
"""Power above idle of a device that holds a context and waits, over its busy power. Measured:
H100 and H200 draw 133 and 128 W so (kernels/measured, power.csv, idle), 65 and 80 W without a
context, which is 0.40 and 0.28 of the 170 W of the profiles. [1]"""


class PowerPrior(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the power of an unmeasured device follows from its board limit and peak."""

    sustained_load_fraction: float
    """Demand of full tensor load at the boost clock over the board limit. [1]"""
    busy_share_fraction: float
    """Share of the board limit that occupied units draw without arithmetic. [1]"""
    least_dynamic_fraction: float
    """Least share of the board limit that arithmetic draws. [1]"""
    sustained_peak_fraction: float
    """Share of the dense peak at which that demand is reached. [1]"""
    energy_per_hbm_byte_j: float
    energy_per_link_byte_j: float
    voltage_slope: float
    minimum_clock_fraction: float
    relative_spread_fraction: float
    source: str
    silicon_spread_fraction: float
    """Least spread of constants of another part of the same silicon. [1]"""


@functools.cache
def _power_prior() -> PowerPrior:
    with (FOLDER / "power_prior.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), PowerPrior)


@functools.cache
def _part(name: str) -> Accelerator:
    return Catalogue().accelerator(name)


def device_power(accelerator: Accelerator) -> PowerCalibration:
    """Power parameters of a device: its own, or what stands for them.

    What was fitted on it comes first; then the constants of its silicon at its own clock and number
    of units; then what its profile has taken over; last its board limit and its peak.
    """
    own = accelerator.calibration.power
    if own is not None and _is_own(own):
        return own
    relative = _silicon_of(accelerator)
    if relative is not None and relative.calibration.power is not None:
        return _from_silicon(accelerator, relative, relative.calibration.power)
    return own or _from_datasheet(accelerator)


def power_hashes(accelerator: Accelerator) -> dict[str, str]:
    """SHA-256 of profiles of its silicon that a device's power rests on, by kind and name. [hex]"""
    own = accelerator.calibration.power
    relative = None if own is not None and _is_own(own) else _silicon_of(accelerator)
    return {} if relative is None else _part_hashes(relative.name)


@functools.cache
def _part_hashes(name: str) -> dict[str, str]:
    return Catalogue().load("accelerator", name).hashes


def _is_own(power: PowerCalibration) -> bool:
    return power.provenance.figure_class in {"fitted", "measured"}


def _silicon_of(accelerator: Accelerator) -> Accelerator | None:
    name = accelerator.power.same_silicon_as
    try:
        return None if name is None else _part(name)
    except ProfileError as error:
        msg = f'{accelerator.name}: power.same_silicon_as = "{name}": {error}'
        raise ProfileError(msg) from error


def _from_silicon(
    accelerator: Accelerator, relative: Accelerator, known: PowerCalibration
) -> PowerCalibration:
    """The relative's constants at this device's clock and number of units."""
    clock_ratio = accelerator.compute.boost_clock_hz / relative.compute.boost_clock_hz
    units_ratio = accelerator.compute.n_units / relative.compute.n_units
    # Energy goes with the square of the voltage, which falls with the clock.
    voltage_ratio = 1.0 - known.voltage_slope * (1.0 - clock_ratio)
    energy_ratio = voltage_ratio**2
    is_assumed = known.provenance.figure_class == "assumed"
    provenance = Provenance(
        figure_class="assumed" if is_assumed else "inherited",
        source=f"the same silicon as {relative.name}: {known.provenance.source}",
        relative_spread_fraction=max(
            known.provenance.relative_spread_fraction, _power_prior().silicon_spread_fraction
        ),
    )
    return msgspec.structs.replace(
        known,
        busy_w=known.busy_w * units_ratio * clock_ratio * energy_ratio,
        energy_per_flop_j=known.energy_per_flop_j * energy_ratio,
        voltage_slope=known.voltage_slope * clock_ratio / voltage_ratio,
        minimum_clock_fraction=min(1.0, known.minimum_clock_fraction / clock_ratio),
        provenance=provenance,
    )


def _from_datasheet(accelerator: Accelerator) -> PowerCalibration:
    """Full tensor load at boost demands somewhat more than the limit, as on measured parts."""
    prior = _power_prior()
    tdp_w = accelerator.power.tdp_w
    peaks = accelerator.compute.peak_flop_per_s
    peak = peaks.get("bf16") or peaks.get("fp16") or max(peaks.values())
    busy_w = prior.busy_share_fraction * tdp_w
    dynamic_w = prior.sustained_load_fraction * tdp_w - accelerator.power.idle_w - busy_w
    dynamic_w = max(dynamic_w, prior.least_dynamic_fraction * tdp_w)
    return PowerCalibration(
        busy_w=busy_w,
        energy_per_flop_j=dynamic_w / (prior.sustained_peak_fraction * peak),
        energy_per_hbm_byte_j=prior.energy_per_hbm_byte_j,
        energy_per_link_byte_j=prior.energy_per_link_byte_j,
        voltage_slope=prior.voltage_slope,
        minimum_clock_fraction=prior.minimum_clock_fraction,
        provenance=Provenance(
            figure_class="assumed",
            source=prior.source,
            relative_spread_fraction=prior.relative_spread_fraction,
        ),
    )
