"""What no real machine can be, told from figures that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.cluster import Cluster, Node, Site

__all__ = ["impossible", "impossible_together"]

# Datasheets round; two figures may disagree by this much and still mean the same. [1]
ROUNDING_FRACTION = 0.01


def impossible(thing: msgspec.Struct) -> Iterator[str]:
    """Name each contradiction within one profile: key, value, what was expected."""
    match thing:
        case Accelerator():
            yield from _in_accelerator(thing)
        case Node():
            yield from _in_node(thing)
        case Cluster():
            yield from _in_cluster(thing)
        case Site():
            yield from _in_site(thing)


def _in_accelerator(device: Accelerator) -> Iterator[str]:
    power, peak = device.power, device.compute.peak_flop_per_s
    if power.idle_w >= power.tdp_w:
        yield f"power.idle_w = {power.idle_w:g}: expected less than power.tdp_w = {power.tdp_w:g}"
    if power.minimum_cap_w is not None and power.minimum_cap_w > power.tdp_w:
        yield (
            f"power.minimum_cap_w = {power.minimum_cap_w:g}: "
            f"expected at most power.tdp_w = {power.tdp_w:g}"
        )
    if not peak:
        yield "compute.peak_flop_per_s: missing; expected a dense peak for one dtype at least"
    for slower, faster in (("fp32", "bf16"), ("tf32", "bf16"), ("bf16", "fp8"), ("fp8", "fp4")):
        if slower in peak and faster in peak and peak[slower] > peak[faster]:
            yield (
                f"compute.peak_flop_per_s.{faster} = {peak[faster]:g}: "
                f"expected at least that of {slower}, {peak[slower]:g}"
            )
    link = device.link
    if link and link.peer_bandwidth_bytes_per_s > link.bandwidth_bytes_per_s:
        yield (
            f"link.peer_bandwidth_bytes_per_s = {link.peer_bandwidth_bytes_per_s:g}: "
            f"expected at most link.bandwidth_bytes_per_s = {link.bandwidth_bytes_per_s:g}"
        )


def _in_node(node: Node) -> Iterator[str]:
    power = node.power
    if node.intra_node.topology == "none" and node.n_devices > 1:
        yield f"intra_node.topology = none: expected switch or mesh for {node.n_devices} devices"
    if power.cpu_idle_w > power.cpu_training_w:
        yield (
            f"power.cpu_idle_w = {power.cpu_idle_w:g}: "
            f"expected at most power.cpu_training_w = {power.cpu_training_w:g}"
        )
    domain = node.intra_node.domain_n_devices
    if domain is not None and domain < node.n_devices:
        yield (
            f"intra_node.domain_n_devices = {domain}: "
            f"expected at least n_devices = {node.n_devices}"
        )


def _in_cluster(cluster: Cluster) -> Iterator[str]:
    names = [partition.name for partition in cluster.partitions]
    if not names:
        yield "partitions: empty; expected one at least"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f'partitions: "{name}" stands there twice; expected each name once'
    for partition in cluster.partitions:
        sized = partition.n_nodes is not None
        if sized == (cluster.status == "template"):
            wanted = "no n_nodes in a template" if sized else f"n_nodes, as it is {cluster.status}"
            yield f'partitions: "{partition.name}": expected {wanted}'


def _in_site(site: Site) -> Iterator[str]:
    if len(site.country) != 2 or not site.country.isupper():
        yield f'country = "{site.country}": expected two capital letters (ISO 3166)'


def impossible_together(node: Node, device: Accelerator) -> Iterator[str]:
    """Name each contradiction between a node and the device it holds."""
    if node.n_devices > 1 and device.link is None:
        yield (
            f'accelerator = "{device.name}": expected one with links to its peers, '
            f"as the node has {node.n_devices}"
        )
    if node.n_devices % device.module.n_devices:
        yield (
            f"n_devices = {node.n_devices}: expected a multiple of the "
            f"{device.module.n_devices} devices of a module of {device.name}"
        )
    link = device.link
    own = node.intra_node.peer_bandwidth_bytes_per_s
    if own is not None and link is not None and own > link.bandwidth_bytes_per_s:
        yield (
            f"intra_node.peer_bandwidth_bytes_per_s = {own:g}: expected at most the "
            f"{link.bandwidth_bytes_per_s:g} of all links of {device.name}"
        )
    if node.intra_node.topology == "mesh" and link is not None:
        peers = (node.n_devices - 1) * (own or link.peer_bandwidth_bytes_per_s)
        if peers > link.bandwidth_bytes_per_s * (1.0 + ROUNDING_FRACTION):
            yield (
                f"n_devices = {node.n_devices}: expected fewer, as a mesh of them needs "
                f"{peers:g} byte/s of links where {device.name} has "
                f"{link.bandwidth_bytes_per_s:g}"
            )
