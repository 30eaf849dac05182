"""Which all-reduce a device at hand takes for a message, from its profile."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

from kernels.all_reduce.model import PATTERNS, collective_time_s
from kernels.all_reduce.peer_model import PeerLimits, PeerMachine, peer_limits

__all__ = ["limits_of_device"]

SAME_ALGORITHMS = "vllm-graph"
"""The library whose kernels, in one shot or two, calibrations know: vLLM's in a captured graph."""
KIB = 2.0**10


def limits_of_device(name: str, n_ranks: int, *, most_bytes: float) -> PeerLimits:
    """Messages up to which our own kernels are predicted to be the fastest.

    From the constants that were fitted on vLLM's kernels of the same algorithms, and the model of
    the vendor's library, as the device's profile or its architecture has them; ours have not been
    measured. Without a profile, or without msgspec to read it, the figures of ``peer.toml``.

    Parameters
    ----------
    name
        Device as its driver calls it.
    n_ranks
        Ranks, all on one node. [1]
    most_bytes
        Largest message that there is room for. [byte]
    """
    found = None
    if importlib.util.find_spec("msgspec") is not None:
        found = _from_profile(name, n_ranks, most_bytes)
    return found if found is not None else _assumed(n_ranks, most_bytes)


def _assumed(n_ranks: int, most_bytes: float) -> PeerLimits:
    text = (Path(__file__).parent / "peer.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)["unknown_device"]
    kib = next(kib for ranks, kib in table["one_shot_kib"].items() if n_ranks <= int(ranks))
    limit_bytes = min(most_bytes, table["peer_kib"] * KIB)
    return PeerLimits(one_shot_bytes=min(limit_bytes, kib * KIB), peer_bytes=limit_bytes)


def _from_profile(name: str, n_ranks: int, most_bytes: float) -> PeerLimits | None:
    from hardware_profiles.catalogue import Catalogue
    from hardware_profiles.errors import TweelingError
    from kernels.all_reduce.groups import CollectiveGroup, NetworkMachine
    from kernels.families.inheritance import completed_calibration
    from kernels.prediction.machines import collective_machine

    try:
        accelerator = Catalogue().accelerator(name)
    except TweelingError:
        return None
    fitted = completed_calibration(accelerator).collective.get("all_reduce")
    if fitted is None or accelerator.link is None:
        return None
    kernels = fitted.implementations.get(SAME_ALGORITHMS)
    if kernels is None:
        return None
    links = accelerator.link
    link_bytes_per_s = min(
        links.bandwidth_bytes_per_s, (n_ranks - 1) * links.peer_bandwidth_bytes_per_s
    )
    group = CollectiveGroup(
        n_ranks=n_ranks,
        n_ranks_per_node=n_ranks,
        link_bandwidth_bytes_per_s=link_bytes_per_s,
        network_bandwidth_bytes_per_s=1.0,  # nothing crosses a network
        network=NetworkMachine(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    )
    vendor = collective_machine(fitted, switch_adds=True)
    machine = PeerMachine(
        meeting_s=kernels.kernel_latency_s,
        meeting_per_rank_s=kernels.kernel_latency_per_rank_s,
        bandwidth_bytes_per_s=kernels.kernel_efficiency_fraction * link_bytes_per_s,
    )
    return peer_limits(
        n_ranks,
        machine,
        lambda message_bytes: collective_time_s(
            message_bytes, PATTERNS["all_reduce"], vendor, group
        ),
        most_bytes=most_bytes,
    )
