"""Tables are predicted row by row as the plain formulas say, and not where they say nothing."""

import math

import numpy as np
import pytest

from hardware_profiles.calibration import (
    BandwidthCalibration,
    Calibration,
    CollectiveCalibration,
    CollectiveImplementation,
    MemoryBoundCalibration,
    OperationCalibration,
    Provenance,
)
from hardware_profiles.catalogue import Catalogue
from kernels.all_reduce.groups import PATTERNS, CollectiveGroup
from kernels.all_reduce.implementation import implementation_time_s
from kernels.all_reduce.networks import measured_network
from kernels.measurement_tables import Table
from kernels.memory_bound.occupancy import OccupancyMachine, occupied_bandwidth_bytes_per_s
from kernels.memory_bound.operation import Matrix, operation_time_s
from kernels.prediction.bandwidth import StreamBandwidths
from kernels.prediction.collectives import NO_NETWORK, CollectiveTimes
from kernels.prediction.machines import collective_machine, implementation_machine
from kernels.prediction.operations import OperationTimes, operation_machine

PROVENANCE = Provenance(figure_class="assumed", source="a test", relative_spread_fraction=0.1)

GRAPH = CollectiveImplementation(
    kernel_latency_s=3e-6,
    kernel_latency_per_rank_s=0.2e-6,
    kernel_efficiency_fraction=0.6,
    kernel_limit_bytes=8e6,
    provenance=PROVENANCE,
)

ALL_REDUCE = CollectiveCalibration(
    bandwidth_efficiency_fraction=0.85,
    latency_s=16e-6,
    latency_per_rank_s=3e-6,
    local_copy_fraction=0.5,
    pipeline_exponent=0.9,
    low_latency_fraction=0.4,
    low_latency_slowdown=1.4,
    in_switch_gain=1.27,
    implementations={"vllm-graph": GRAPH},
    provenance=PROVENANCE,
)

A3MEGA = "NVLink4 + cloud TCPXO NICs (A3 mega)"

STREAMS = MemoryBoundCalibration(
    bandwidth_efficiency_fraction=0.88,
    launch_s=2.5e-6,
    operations={
        "softmax": OperationCalibration(
            launch_s=20e-6, row_s=0.3e-6, short_row_columns=1024.0, provenance=PROVENANCE
        )
    },
    bandwidth={
        "triad": BandwidthCalibration(peak_fraction=0.9, saturation_fraction=0.4, join_exponent=3.0)
    },
    provenance=PROVENANCE,
)


@pytest.fixture(scope="module")
def h100():
    return Catalogue().accelerator("h100-sxm")


def collective_rows(**changes):
    columns = {
        "device": "H100-SXM5-80GB",
        "op": "all_reduce",
        "dtype": "fp16",
        "ranks": 8.0,
        "nodes": 1.0,
        "link": "NVLink4+NVSwitch",
        "message_bytes": 2.0**24,
        "library": "nccl-2.27.3",
    }
    return {**columns, **changes}


def table(rows):
    columns = {}
    for name, first in rows[0].items():
        kind = float if isinstance(first, float) else object
        columns[name] = np.array([row[name] for row in rows], dtype=kind)
    return Table(columns=columns)


def scalar_time_s(row, accelerator):
    adds = row["dtype"] != "int8"
    network = measured_network(row["device"], row["link"], row["library"])
    on_node = row["ranks"] / row["nodes"]
    group = CollectiveGroup(
        n_ranks=row["ranks"],
        n_ranks_per_node=on_node,
        link_bandwidth_bytes_per_s=accelerator.link.bandwidth_bytes_per_s,
        network_bandwidth_bytes_per_s=network.node_bandwidth_bytes_per_s if network else 1.0,
        network=network.fitted.machine() if network else NO_NETWORK,
    )
    fitted = GRAPH if row["library"].endswith("_graph") else None
    library = implementation_machine(fitted, accelerator.memory.bandwidth_bytes_per_s)
    machine = collective_machine(ALL_REDUCE, switch_adds=adds)
    return implementation_time_s(
        row["message_bytes"], PATTERNS["all_reduce"], library, machine, group
    )


def test_collectives_row_by_row(h100):
    rows = [
        collective_rows(message_bytes=2.0**size, ranks=ranks, dtype=dtype, library=library)
        for size in (10, 20, 28)
        for ranks in (2.0, 8.0)
        for dtype in ("fp16", "int8")
        for library in ("nccl-2.27.3", "vllm-0.24.0:vLLM_custom_graph")
    ]
    rows += [collective_rows(link=A3MEGA, nodes=2.0, ranks=16.0, library="nccl:oop")]
    calibration = Calibration(collective={"all_reduce": ALL_REDUCE})
    times_s = CollectiveTimes().times_s(table(rows), h100, calibration)
    assert times_s == pytest.approx([scalar_time_s(row, h100) for row in rows], rel=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"op": "all_gather"},
        {"op": "gossip"},
        {"link": "wet string"},
        {"nodes": 2.0, "ranks": 16.0},
        {"link": A3MEGA, "nodes": 3.0, "ranks": 16.0},
    ],
    ids=["no parameters", "no such operation", "no wires", "no network", "uneven nodes"],
)
def test_collectives_that_the_model_does_not_cover_are_nan(h100, changes):
    calibration = Calibration(collective={"all_reduce": ALL_REDUCE})
    rows = table([collective_rows(), collective_rows(**changes)])
    known, unknown = CollectiveTimes().times_s(rows, h100, calibration)
    assert known > 0.0
    assert math.isnan(unknown)


def test_operations_row_by_row(h100):
    rows = [
        {"op": op, "dtype": "fp32", "rows": n_rows, "cols": columns}
        for op in ("softmax", "add")
        for n_rows in (8192.0, 1e6)
        for columns in (1000.0, 1024.0, 4097.0)
    ]
    times_s = OperationTimes().times_s(table(rows), h100, Calibration(memory_bound=STREAMS))
    for row, time_s in zip(rows, times_s, strict=True):
        machine = operation_machine(h100, STREAMS, STREAMS.operations.get(row["op"]))
        n_passes = 2.0 if row["op"] == "softmax" else 3.0
        is_aligned = float(row["cols"] % 4 == 0)
        one = Matrix(row["rows"], row["cols"], 4.0, n_passes, is_aligned)
        assert time_s == pytest.approx(operation_time_s(one, machine), rel=1e-12)


def test_kernels_of_one_pass_are_plain_streams(h100):
    libraries = ("torch", "tweeling-0.1.0:memory_bound", "tweeling-0.1.0:numba:threads1")
    rows = [
        {"op": "softmax", "dtype": "fp32", "rows": 8192.0, "cols": 4096.0, "library": library}
        for library in libraries
    ]
    times_s = OperationTimes().times_s(table(rows), h100, Calibration(memory_bound=STREAMS))
    plain = Matrix(8192.0, 4096.0, 4.0, 2.0, 1.0)
    machines = [
        operation_machine(h100, STREAMS, one) for one in (STREAMS.operations["softmax"], None)
    ]
    eager_s, plain_s = (operation_time_s(plain, one) for one in machines)
    assert list(times_s) == pytest.approx([eager_s, plain_s, eager_s], rel=1e-12)
    assert plain_s < eager_s


def test_unknown_operations_and_dtypes_are_nan(h100):
    rows = [
        {"op": op, "dtype": dtype, "rows": 1024.0, "cols": 1024.0}
        for op, dtype in (("add", "fp32"), ("fold", "fp32"), ("add", "int3"))
    ]
    times_s = OperationTimes().times_s(table(rows), h100, Calibration(memory_bound=STREAMS))
    assert list(np.isnan(times_s)) == [False, True, True]
    assert np.isnan(OperationTimes().times_s(table(rows), h100, Calibration())).all()


def test_bandwidth_row_by_row(h100):
    rows = [
        {"op": "triad", "library": "gpu-stream block=128 occupancy=12.5%"},
        {"op": "triad", "library": "torch"},
        {"op": "h2d", "library": "torch"},
    ]
    calibration = Calibration(memory_bound=STREAMS)
    found = StreamBandwidths().bandwidths_bytes_per_s(table(rows), h100, calibration)
    machine = OccupancyMachine(h100.memory.bandwidth_bytes_per_s, 0.9, 0.4, 3.0)
    expected = [occupied_bandwidth_bytes_per_s(share, machine) for share in (0.125, 1.0)]
    assert found[:2] == pytest.approx(expected, rel=1e-12)
    assert math.isnan(found[2])
