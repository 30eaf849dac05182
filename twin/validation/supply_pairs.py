"""Efficiency of power supplies, measured: the same runs metered before and behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twin.validation.node_power_table import NodePowerRow
from twin.validation.power_join import same_runs

__all__ = ["SupplyEfficiency", "SupplyPair", "supply_efficiency"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyPair:
    """One benchmark on one system at two meters."""

    mlperf_version: str
    system: str
    benchmark: str
    inlet_w: float
    behind_supply_w: float
    efficiency: float
    """Power behind the supplies over power at the inlet. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyEfficiency:
    """All pairs of a table; the mean weighs each the same."""

    mean: float
    minimum: float
    maximum: float
    pairs: tuple[SupplyPair, ...]


def supply_efficiency(rows: Sequence[NodePowerRow]) -> SupplyEfficiency | None:
    """Efficiencies that pairs of meters on the same runs show; None without pairs."""
    pairs = [
        SupplyPair(
            mlperf_version=inlet.mlperf_version,
            system=inlet.system,
            benchmark=inlet.benchmark,
            inlet_w=inlet.node_power_w,
            behind_supply_w=behind.node_power_w,
            efficiency=behind.node_power_w / inlet.node_power_w,
        )
        for inlet in rows
        for behind in rows
        if inlet.meter == "ac" and same_runs(inlet, behind)
    ]
    if not pairs:
        return None
    found = [pair.efficiency for pair in pairs]
    return SupplyEfficiency(
        mean=sum(found) / len(found),
        minimum=min(found),
        maximum=max(found),
        pairs=tuple(pairs),
    )
