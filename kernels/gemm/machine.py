"""The machine of the GEMM model from a profile's figures and the calibration of one dtype.

Constants may come from relatives of another size, so each is a share of the figure that it follows
from device to device.

The supply of operands follows the units and their clock, not the memory: H100 and H200, whose
memory differs by 1.4, show the same bytes for a clock and a unit within 1 to 7 % at three dtypes.
Units of another rate keep more of their operands to themselves: their supply goes with the 3/4th
power of their rate, which of powers from 0 to 1 predicts devices from other architectures best (62
pairs of Nvidia's devices and dtypes with matrix units; four of AMD's would have 1/4 to 1/2).

Droop is the clock that falls in long kernels once the board is at its limit. Dynamic power is
C V^2 f, and the voltage falls with the clock, so that power follows its cube at most: a board with
more power for each operation of its peak keeps more of its clock, by about the cube root of that
ratio. What A100, RTX PRO 6000, H100, H200 and B200 sustain of their 16-bit peak in long kernels,
their droop and what short kernels reach together, follows it with an exponent of 0.32 (0.2 to 0.4
between two of them); the GB200, with more power than the B200, sustains less. Only the droop is
scaled here, since what short kernels reach is taken over as it is. What a finer process saves is
left out.

References
----------
A. P. Chandrakasan, S. Sheng, R. W. Brodersen, Low-power CMOS digital design, IEEE Journal of
Solid-State Circuits 27(4), 1992 (dynamic power).
"""

from __future__ import annotations

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import GemmCalibration
from kernels.gemm.model import GemmMachine
from kernels.gemm.precision import PRECISIONS

__all__ = ["gemm_machine", "scaled_droop_fraction", "scaled_feed_bytes_per_clock"]

POWER_EXPONENT = 3.0
"""Power over clock near the board limit, as powers. [1]"""

SUPPLY_EXPONENT = 0.75
"""Supply of a unit over its rate, as powers. [1]"""

TAKEN_OVER = tuple(
    name
    for name in GemmMachine._fields
    if name in GemmCalibration.__struct_fields__ and name != "droop_fraction"
)
"""Parameters that the machine has as the profile does."""


def scaled_droop_fraction(
    droop_fraction: float, *, limit_j_per_flop: float | None, own_limit_j_per_flop: float
) -> float:
    """Droop of a device beside that of others with another board limit for their peak.

    Parameters
    ----------
    droop_fraction
        Loss of rate that the others showed. [1]
    limit_j_per_flop
        Their board limit over their dense peak; none where it is not known. [J/flop]
    own_limit_j_per_flop
        The same of the device. [J/flop]

    Returns
    -------
    float
        Its loss of rate; never a gain, since no clock rises above boost. [1]
    """
    if limit_j_per_flop is None:
        return droop_fraction
    clock_ratio = float((own_limit_j_per_flop / limit_j_per_flop) ** (1.0 / POWER_EXPONENT))
    return max(0.0, (1.0 + droop_fraction) / clock_ratio - 1.0)


def scaled_feed_bytes_per_clock(fitted: GemmCalibration, flop_per_clock: float) -> float:
    """Operands that a unit of this rate draws in a clock. [byte]"""
    if fitted.feed_flop_per_clock is None:
        return fitted.feed_bytes_per_clock
    rate_ratio = flop_per_clock / fitted.feed_flop_per_clock
    return float(fitted.feed_bytes_per_clock * rate_ratio**SUPPLY_EXPONENT)


def gemm_machine(
    accelerator: Accelerator,
    fitted: GemmCalibration,
    *,
    peak_flop_per_s: float,
    fitted_dtype: str,
    clock_fraction: float = 1.0,
) -> GemmMachine:
    """The device as the GEMM model sees it: arithmetic and caches follow the clock, memory not.

    Parameters
    ----------
    accelerator
        Figures of the device.
    fitted
        Constants, its own or a relative's.
    peak_flop_per_s
        Dense peak of the dtype at the boost clock. [flop/s]
    fitted_dtype
        The dtype that the constants belong to. Where it is another one that stands in, units draw
        as many bytes as they do then.
    clock_fraction
        Clock over the boost clock. [1]

    Returns
    -------
    GemmMachine
        What the formulas read.
    """
    peaks = accelerator.compute.peak_flop_per_s
    fitted_peak = peaks.get(PRECISIONS[fitted_dtype].peak, peak_flop_per_s)
    clocks_per_s = accelerator.compute.n_units * accelerator.compute.boost_clock_hz
    feed_bytes_per_clock = scaled_feed_bytes_per_clock(fitted, fitted_peak / clocks_per_s)
    bandwidth = accelerator.memory.bandwidth_bytes_per_s
    # What memory brings reaches the units, however few or slow they are beside their relatives'.
    feed_bytes_per_s = max(
        feed_bytes_per_clock * clocks_per_s, fitted.memory_efficiency_fraction * bandwidth
    )
    return GemmMachine(
        n_units=float(accelerator.compute.n_units),
        peak_flop_per_s=peak_flop_per_s * clock_fraction,
        memory_bandwidth_bytes_per_s=bandwidth,
        feed_bytes_per_s=feed_bytes_per_s * clock_fraction,
        droop_fraction=scaled_droop_fraction(
            fitted.droop_fraction,
            limit_j_per_flop=fitted.droop_limit_j_per_flop,
            own_limit_j_per_flop=accelerator.power.tdp_w / fitted_peak,
        ),
        cache_bytes=accelerator.memory.l2_bytes or 0.0,
        **{name: getattr(fitted, name) for name in TAKEN_OVER},
    )
