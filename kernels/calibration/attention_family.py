"""Attention constants of a family of devices, for members that nobody measured.

Shares carry over within a generation; latencies are counted in clocks; what the host does stays as
it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import AttentionCalibration, AttentionDecode, Provenance

__all__ = ["family_attention", "inherited_attention", "scaled_attention", "scaled_products"]

Member = tuple[Accelerator, Mapping[str, AttentionCalibration]]

CLOCKED = ("block_latency_s", "item_latency_s")
"""Parameters that stretch when the clock falls. [s]"""

KEPT = ("query_block", "narrow_query_block", "least_query_block")
"""Choices, not amounts: taken from the member with most rows."""

INSIDE_SPREAD = 0.08
"""Spread that taking over adds inside an architecture. With the rows of one device left out, its
median error is 5 % (H100 and H200 from each other, B200 and GB200 from each other). [1]"""

ACROSS_SPREAD = 0.25
"""The same from the nearest other architecture: 17 % (A100 from Hopper), 19 % (RTX PRO 6000 from
Ampere). [1]"""


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


def _inherited(provenance: Provenance, names: Sequence[str], spread: float) -> Provenance:
    joint = math.hypot(provenance.relative_spread_fraction, spread)
    return Provenance(
        figure_class="inherited",
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
    provenance = _inherited(first.provenance, names, INSIDE_SPREAD)
    return msgspec.structs.replace(first, **mean, provenance=provenance)


def _family_entry(
    members: Sequence[tuple[Accelerator, AttentionCalibration]], target: Accelerator, spread: float
) -> AttentionCalibration:
    richest = max(members, key=lambda one: _n_samples(one[1]))[1]
    amounts = [_amounts(one) for _, one in members]
    clocks = [accelerator.compute.boost_clock_hz for accelerator, _ in members]
    for one, clock_hz in zip(amounts, clocks, strict=True):
        for name in CLOCKED:
            one[name] *= clock_hz / target.compute.boost_clock_hz
    shared = set.intersection(*(set(one) for one in amounts)) - set(KEPT)
    mean = {name: _middle([one[name] for one in amounts]) for name in sorted(shared)}
    names = [accelerator.name for accelerator, _ in members]
    decoders = [one.decode for _, one in members if one.decode is not None]
    clock_ratio = _middle(clocks) / target.compute.boost_clock_hz
    return msgspec.structs.replace(
        richest,
        **mean,
        decode=_decode(decoders, names, clock_ratio) if decoders else None,
        provenance=_inherited(richest.provenance, names, spread),
        backward_provenance=_inherited(richest.backward_provenance, names, spread),
    )


def family_attention(
    members: Sequence[Member],
    *,
    target: Accelerator | None = None,
    transfer_spread: float = INSIDE_SPREAD,
) -> dict[str, AttentionCalibration]:
    """Constants that the members of a family share, by implementation.

    Parameters
    ----------
    members
        Devices with their entries.
    target
        Device that is to inherit; latencies are scaled to its clock. None: the first member.
    transfer_spread
        Spread that taking over adds: 0.08 inside an architecture, as leaving one device out
        shows; wider from another one. [1]

    Returns
    -------
    dict
        Entry by implementation, of class inherited; the geometric mean where several members have
        it. Corrections and block sizes are those of the member with most rows.
    """
    if not members:
        return {}
    wanted = target or members[0][0]
    names = list(dict.fromkeys(name for _, entries in members for name in entries))
    return {
        name: _family_entry(
            [(device, entries[name]) for device, entries in members if name in entries],
            wanted,
            transfer_spread,
        )
        for name in names
    }


def inherited_attention(
    target: Accelerator,
    members: Sequence[Member],
    nearest: Mapping[str, Sequence[str]],
) -> dict[str, AttentionCalibration]:
    """Entries of a device without rows: of its architecture, else of the nearest with any.

    Parameters
    ----------
    target
        The device.
    members
        All devices with entries.
    nearest
        Architectures to fall back to, by architecture.

    Returns
    -------
    dict
        Entry by implementation; corrections stay inside an architecture. Empty where no
        architecture named has entries.
    """
    own = target.architecture
    for architecture in (own, *nearest.get(own, ())):
        kin = [one for one in members if one[0].architecture == architecture]
        kin = [one for one in kin if one[0].name != target.name]
        if not kin:
            continue
        if architecture == own:
            return family_attention(kin, target=target)
        found = family_attention(kin, target=target, transfer_spread=ACROSS_SPREAD)
        return {
            name: msgspec.structs.replace(one, residual=None, backward_residual=None)
            for name, one in found.items()
        }
    return {}


def scaled_products(fitted: AttentionCalibration, rate_factor: float) -> AttentionCalibration:
    """The rates of the matrix products of an entry scaled; no corrections."""
    scaled = {
        name: min(getattr(fitted, name) * rate_factor, 1.0)
        for name in ("matrix_efficiency_fraction", "backward_matrix_efficiency_fraction")
    }
    return msgspec.structs.replace(fitted, **scaled, residual=None, backward_residual=None)


def scaled_attention(fitted: AttentionCalibration, rate_factor: float) -> AttentionCalibration:
    """All rates of an entry scaled together, latencies against them; no corrections."""
    rates = {
        "exponentials_per_clock_per_unit": fitted.exponentials_per_clock_per_unit * rate_factor
    }
    latencies = {name: getattr(fitted, name) / rate_factor for name in CLOCKED}
    return msgspec.structs.replace(scaled_products(fitted, rate_factor), **rates, **latencies)
