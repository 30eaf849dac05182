"""Measured networks and wires: what is listed agrees with what was published."""

import math

import pytest

from hardware_profiles.accelerator import Link
from kernels.all_reduce.model import (
    PATTERNS,
    CollectiveGroup,
    CollectiveMachine,
    collective_time_s,
    wire_factor,
)
from kernels.all_reduce.networks import known_networks, measured_network
from kernels.all_reduce.wires import (
    exchange_bandwidth_bytes_per_s,
    measured_wires,
    wire_bandwidth_bytes_per_s,
)

GIB = 2.0**30
MESH_LINK = Link(name="xGMI", bandwidth_bytes_per_s=448e9, peer_bandwidth_bytes_per_s=64e9)

A100 = CollectiveMachine(
    bandwidth_efficiency_fraction=0.793,
    latency_s=26e-6,
    latency_per_rank_s=3.2e-6,
    local_copy_fraction=0.5,
    pipeline_exponent=0.85,
    low_latency_fraction=0.45,
    low_latency_slowdown=1.8,
    in_switch_gain=1.0,
)


def bus_bandwidth(network, n_nodes, *, on_node, link, machine, message_bytes):
    group = CollectiveGroup(
        n_ranks=float(n_nodes * on_node),
        n_ranks_per_node=float(on_node),
        link_bandwidth_bytes_per_s=link,
        network_bandwidth_bytes_per_s=network.node_bandwidth_bytes_per_s,
        network=network.fitted.machine(),
    )
    time_s = collective_time_s(message_bytes, PATTERNS["all_reduce"], machine, group)
    return message_bytes * wire_factor(group.n_ranks, PATTERNS["all_reduce"]) / time_s


def test_two_servers_of_eight_a100_reach_what_their_log_says():
    """8 GiB: 235.6 GB/s of bus bandwidth at a line rate of 200 GB/s (public nccl-tests log)."""
    network = measured_network("A100-SXM4-40GB", "NVLink3 + RoCE (cloud)", "nccl:oop")
    reached = bus_bandwidth(network, 2, on_node=8, link=300e9, machine=A100, message_bytes=8 * GIB)
    assert reached == pytest.approx(235.6e9, rel=0.1)


@pytest.mark.parametrize(("n_nodes", "published"), [(4, 88.9e9), (8, 82.4e9), (32, 70.2e9)])
def test_marenostrum_all_reduces_of_512_mib(n_nodes, published):
    """NCCL's own choice on H100 over NDR200 (HLC-Lab/pico)."""
    network = next(one for one in known_networks() if one.libraries == ("nccl",))
    machine = A100._replace(bandwidth_efficiency_fraction=0.85)
    reached = bus_bandwidth(
        network, n_nodes, on_node=4, link=450e9, machine=machine, message_bytes=GIB / 2
    )
    assert reached == pytest.approx(published, rel=0.15)


def test_software_paths_of_one_network_are_told_apart():
    link = next(one.link for one in known_networks() if "MI250X" in one.devices)
    texts = (
        "rccl 2.20.5 rccl-tests",
        "cray-mpich GPU-aware default",
        "cray-mpich GPU-aware, 64 MB",
    )
    found = [measured_network("MI250X", link, text) for text in texts]
    assert len({one.libraries for one in found}) == 3


def test_an_unknown_network_is_none():
    assert measured_network("H100-SXM5-80GB", "carrier pigeons", "nccl") is None


def test_every_network_says_how_it_was_fitted():
    for network in known_networks():
        fitted = network.fitted
        assert 0.0 < fitted.ring_efficiency_fraction <= 1.0
        assert 0.0 < fitted.tree_efficiency_fraction <= 1.0
        assert fitted.provenance.source


def test_wires_by_the_text_of_a_link():
    mesh, switch = measured_wires("xGMI full mesh"), measured_wires("NVLink9+NVSwitch")
    assert wire_bandwidth_bytes_per_s(mesh, 2, MESH_LINK) == 64e9
    assert wire_bandwidth_bytes_per_s(mesh, 8, MESH_LINK) == 448e9
    assert wire_bandwidth_bytes_per_s(switch, 2, MESH_LINK) == 448e9
    assert math.isnan(wire_bandwidth_bytes_per_s(switch, 2, None))
    assert measured_wires("wet string") is None


def test_the_cube_mesh_has_as_many_rings_as_its_graph():
    cube = measured_wires("NVLink2")
    rings = [wire_bandwidth_bytes_per_s(cube, ranks, None) / 25e9 for ranks in (2, 3, 4, 6, 7, 8)]
    assert rings == [1.0, 2.0, 4.0, 2.0, 4.0, 6.0]


def test_a_ring_across_sockets_is_slower_than_a_pair():
    slots = measured_wires("PCIe5")
    bandwidths = [wire_bandwidth_bytes_per_s(slots, ranks, None) for ranks in (2, 4, 8)]
    assert bandwidths == sorted(bandwidths, reverse=True)


def test_cards_that_send_to_all_others_are_bound_by_a_ring_only_where_there_is_one():
    slots, cube = measured_wires("PCIe5"), measured_wires("NVLink2")
    for ranks in (3, 4, 8):
        around = wire_bandwidth_bytes_per_s(slots, ranks, None)
        across = exchange_bandwidth_bytes_per_s(slots, ranks, None)
        assert around < across <= wire_bandwidth_bytes_per_s(slots, 2, None)
    same = exchange_bandwidth_bytes_per_s(cube, 8, None)
    assert same == wire_bandwidth_bytes_per_s(cube, 8, None)
