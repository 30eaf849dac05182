"""Attention constants of a family of devices, for members that nobody measured.

Shares carry over within a generation; latencies are counted in clocks; what the host does stays as
it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import AttentionCalibration, AttentionDecode, Provenance

__all__ = ["Scaling", "family_attention", "scaled_attention", "scaled_values"]

Member = tuple[Accelerator, Mapping[str, AttentionCalibration]]

CLOCKED = ("block_latency_s", "item_latency_s")
"""Parameters that stretch when the clock falls. [s]"""

PRODUCTS = ("matrix_efficiency_fraction", "backward_matrix_efficiency_fraction")
"""Rates of the matrix products, as shares of the peak. [1]"""

EXPONENTIALS = ("exponentials_per_clock_per_unit",)

Scaling = Literal["all", "products"]
"""Whether a factor changes the pace of a whole kernel or of its matrix products alone."""

KEPT = ("query_block", "narrow_query_block", "least_query_block")
"""Choices, not amounts: taken from the member with most rows."""

INSIDE_SPREAD = 0.08
"""Spread that taking over adds inside an architecture. With the rows of one device left out, its
median error is 5 % (H100 and H200 from each other, B200 and GB200 from each other). [1]"""


def _amounts(one: msgspec.Struct) -> dict[str, float]:
    fields = msgspec.structs.asdict(one)
    return {name: value for name, value in fields.items() if isinstance(value, float)}


def _middle(values: Sequence[float]) -> float:
    """Geometric mean; the arithmetic one where something is zero."""
    if min(values) <= 0.0:
        return sum(values) / len(values)
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _n_samples(one: AttentionCalibration) -> int:
    return one.provenance.n_samples or 0


def _inherited(provenance: Provenance, names: Sequence[str]) -> Provenance:
    """Provenance of a family's constants: what was assumed of its members is no more than that."""
    joint = math.hypot(provenance.relative_spread_fraction, INSIDE_SPREAD)
    return Provenance(
        figure_class="assumed" if provenance.figure_class == "assumed" else "inherited",
        source=f"constants of {', '.join(names)}: {provenance.source}",
        date=provenance.date,
        code_version=provenance.code_version,
        relative_spread_fraction=joint,
    )


def _decode(
    members: Sequence[AttentionDecode], names: Sequence[str], ratio: float
) -> AttentionDecode:
    amounts = [_amounts(one) for one in members]
    mean = {name: _middle([one[name] for one in amounts]) for name in amounts[0]}
    mean["item_latency_s"] *= ratio
    first = members[0]
    provenance = _inherited(first.provenance, names)
    return msgspec.structs.replace(first, **mean, provenance=provenance)


def _family_entry(
    members: Sequence[tuple[Accelerator, AttentionCalibration]], clock_hz: float
) -> AttentionCalibration:
    richest = max(members, key=lambda one: _n_samples(one[1]))[1]
    amounts = [_amounts(one) for _, one in members]
    clocks = [accelerator.compute.boost_clock_hz for accelerator, _ in members]
    for one, own_clock_hz in zip(amounts, clocks, strict=True):
        for name in CLOCKED:
            one[name] *= own_clock_hz / clock_hz
    shared = set.intersection(*(set(one) for one in amounts)) - set(KEPT)
    mean = {name: _middle([one[name] for one in amounts]) for name in sorted(shared)}
    names = [accelerator.name for accelerator, _ in members]
    decoders = [one.decode for _, one in members if one.decode is not None]
    clock_ratio = _middle(clocks) / clock_hz
    return msgspec.structs.replace(
        richest,
        **mean,
        decode=_decode(decoders, names, clock_ratio) if decoders else None,
        provenance=_inherited(richest.provenance, names),
        backward_provenance=_inherited(richest.backward_provenance, names),
    )


def family_attention(
    members: Sequence[Member],
    *,
    target: Accelerator | None = None,
) -> dict[str, AttentionCalibration]:
    """Constants that the members of a family share, by implementation.

    Parameters
    ----------
    members
        Devices with their entries.
    target
        Device that is to inherit; latencies are scaled to its clock. None: to the middle clock of
        the members.

    Returns
    -------
    dict
        Entry by implementation, of class inherited; the geometric mean where several members have
        it. Corrections and block sizes are those of the member with most rows.
    """
    if not members:
        return {}
    clock_hz = _middle([device.compute.boost_clock_hz for device, _ in members])
    if target is not None:
        clock_hz = target.compute.boost_clock_hz
    names = list(dict.fromkeys(name for _, entries in members for name in entries))
    return {
        name: _family_entry(
            [(device, entries[name]) for device, entries in members if name in entries],
            clock_hz,
        )
        for name in names
    }


def scaled_values(
    values: Mapping[str, float], rate_factor: float, *, scales: Scaling
) -> dict[str, float]:
    """Parameters by name with the rates among them scaled, and latencies against them.

    Parameters
    ----------
    values
        Parameters of a forward pass, or of both.
    rate_factor
        Rates over those that they have. [1]
    scales
        Whether the whole kernel changes its pace, or its matrix products alone.
    """
    scaled = {name: min(values[name] * rate_factor, 1.0) for name in PRODUCTS if name in values}
    if scales == "all":
        scaled |= {name: values[name] * rate_factor for name in EXPONENTIALS}
        scaled |= {name: values[name] / rate_factor for name in CLOCKED}
    return {**values, **scaled}


def scaled_attention(
    fitted: AttentionCalibration, rate_factor: float, *, scales: Scaling = "all"
) -> AttentionCalibration:
    """An entry at other rates, see `scaled_values`; no corrections."""
    scaled = scaled_values(_amounts(fitted), rate_factor, scales=scales)
    return msgspec.structs.replace(fitted, **scaled, residual=None, backward_residual=None)
