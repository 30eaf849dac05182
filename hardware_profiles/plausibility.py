"""Figures that a real machine could have and that are more likely a slip of the pen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.cluster import Node

__all__ = ["flop_per_cycle_per_unit", "implausible", "unlike_its_siblings"]

# Clocks are quoted in steps of 5 to 30 MHz and peaks to three digits. [1]
PEAK_TOLERANCE_FRACTION = 0.04
# Rates of one device relative to each other, as hardware multiplies them. [1]
RATIO_TOLERANCE_FRACTION = 0.05

# Between 1, the same units, and 2, the sparse rate. [1]
WIDER_THAN_ITS_FAMILY = 1.5

_SPARSE = "is it the sparse rate, or the clock another than the one it is quoted at?"


def implausible(thing: msgspec.Struct) -> Iterator[str]:
    """Name each figure that looks like a slip: key, value, what was expected."""
    match thing:
        case Accelerator():
            yield from _odd_peaks(thing)
            yield from _odd_ratios(thing)
        case Node():
            yield from _odd_node(thing)


def flop_per_cycle_per_unit(device: Accelerator) -> float | None:
    """Dense 16-bit operations of one compute unit in one cycle of the quoted clock. [flop]"""
    peaks = device.compute.peak_flop_per_s
    peak = peaks.get("bf16", peaks.get("fp16"))
    if peak is None:
        return None
    return peak / (device.compute.n_units * device.compute.boost_clock_hz)


def _odd_peaks(device: Accelerator) -> Iterator[str]:
    rate = flop_per_cycle_per_unit(device)
    if rate is None:
        return
    whole = 2.0 ** round(math.log2(rate))
    if abs(rate / whole - 1.0) > PEAK_TOLERANCE_FRACTION:
        yield (
            f"compute.peak_flop_per_s.bf16: {rate:.0f} flop per cycle and unit; "
            f"expected a power of two such as {whole:.0f}; {_SPARSE}"
        )


def _odd_ratios(device: Accelerator) -> Iterator[str]:
    """Rates that exceed another's by something else than one or two.

    A lower one is no slip: Blackwell Ultra gave up int8, and processors have slow fp16.
    """
    peaks = device.compute.peak_flop_per_s
    for faster, slower in (("fp8", "bf16"), ("int8", "bf16"), ("bf16", "tf32"), ("fp16", "bf16")):
        if faster not in peaks or slower not in peaks:
            continue
        ratio = peaks[faster] / peaks[slower]
        if ratio > 1.0 and all(
            abs(ratio / known - 1.0) > RATIO_TOLERANCE_FRACTION for known in (1.0, 2.0)
        ):
            yield (
                f"compute.peak_flop_per_s.{faster}: {ratio:.2f} times that of {slower}; "
                f"expected 1 or 2; {_SPARSE}"
            )


def unlike_its_siblings(device: Accelerator, siblings: Iterable[Accelerator]) -> Iterator[str]:
    """Compare with parts of the same architecture, whose units do the same work per cycle.

    A sparse peak is twice the dense one for every dtype alike, so that only another part of the
    family can give it away. Cards for graphics have units of half the width (A40 beside A100), so
    that the widest of the family is the measure.
    """
    own = flop_per_cycle_per_unit(device)
    rates = {sibling.name: flop_per_cycle_per_unit(sibling) for sibling in siblings}
    known = {name: rate for name, rate in rates.items() if rate is not None}
    if own is None or not known:
        return
    widest = max(known, key=lambda name: known[name])
    if own > WIDER_THAN_ITS_FAMILY * known[widest]:
        yield (
            f"compute.peak_flop_per_s.bf16: {own:.0f} flop per cycle and unit, where "
            f"{widest} of the same architecture has {known[widest]:.0f}; {_SPARSE}"
        )


def _odd_node(node: Node) -> Iterator[str]:
    if node.power.fan_fraction > 0.3:
        yield f"power.fan_fraction = {node.power.fan_fraction:g}: expected at most about 0.2"
    if node.power.supply_efficiency_fraction < 0.8:
        yield (
            f"power.supply_efficiency_fraction = {node.power.supply_efficiency_fraction:g}: "
            "expected 0.9 to 0.98"
        )
