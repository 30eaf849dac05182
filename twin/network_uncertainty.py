"""What an uncertain network makes of a step: the step again, on a slower one.

What a network gives to collectives is known of few (`kernels/all_reduce/networks.toml`); a profile
of another carries shares and latencies of networks like it. How much of that a step feels is not
its share of the step time, since traffic that hides behind compute comes out of hiding: the step
is predicted again.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from hardware_profiles.cluster import Fabric, Machine
from hardware_profiles.sources import figure_source
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor
from twin.training.step import Step

__all__ = ["NETWORK_KEY", "network_class", "network_spread", "slower_fabric"]

NETWORK_KEY = "fabric.bandwidth_efficiency_fraction"
"""Figure whose class stands for what is known of a network."""

KNOWN_SPREAD_FRACTION = 0.15
"""Networks in use differ from networks under test by at least this much. [1]"""

ASSUMED_SPREAD_FRACTION = 0.4
"""Standard deviation of the logarithm of the share of the line rate over the fifteen networks of
``networks.toml`` that NCCL or RCCL was measured on as its users run it: 0.39 around rings, 0.35 in
trees. [1]"""


def network_class(
    machine: Machine,
) -> Literal["measured", "fitted", "datasheet", "assumed", "user"]:
    """How the network's share of its line rate is known."""
    if f"cluster.{NETWORK_KEY}" in machine.overridden_keys:
        return "user"
    source = figure_source(machine.cluster, NETWORK_KEY)
    return source.figure_class if source else "assumed"


def slower_fabric(fabric: Fabric, spread: float) -> Fabric:
    """The network one standard deviation of its logarithm slower in all that collectives feel."""
    slower = math.exp(-spread)
    return msgspec.structs.replace(
        fabric,
        bandwidth_efficiency_fraction=fabric.bandwidth_efficiency_fraction * slower,
        tree_efficiency_fraction=fabric.tree_efficiency_fraction * slower,
        latency_s=fabric.latency_s / slower,
        latency_per_node_s=fabric.latency_per_node_s / slower,
        latency_per_hop_s=fabric.latency_per_hop_s / slower,
    )


def network_spread(predictor: StepPredictor, plan: Plan, step: Step) -> float:
    """Standard deviation of the logarithm of the step time by the network alone. [1]

    Towards the slower side, which is the longer one where traffic hides behind compute.
    """
    job = predictor.job
    if job.n_nodes <= 1:
        return 0.0
    machine = job.machine
    is_assumed = network_class(machine) in ("assumed", "datasheet")
    spread = ASSUMED_SPREAD_FRACTION if is_assumed else KNOWN_SPREAD_FRACTION
    fabric = slower_fabric(machine.cluster.fabric, spread)
    slower = msgspec.structs.replace(
        machine, cluster=msgspec.structs.replace(machine.cluster, fabric=fabric)
    )
    again = predictor.with_network_of(slower).step(plan)
    return math.log(max(1.0, again.time_s / step.time_s))
