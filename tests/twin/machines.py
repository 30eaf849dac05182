"""Machines with round figures, so that tests depend on no profile file."""

from __future__ import annotations

import msgspec

from hardware_profiles.accelerator import (
    Accelerator,
    Compute,
    DevicePower,
    Link,
    Memory,
    Module,
    Source,
)
from hardware_profiles.calibration import Calibration, PowerCalibration, Provenance
from hardware_profiles.cluster import (
    Cluster,
    Fabric,
    IntraNode,
    Machine,
    Network,
    Node,
    NodePower,
    Partition,
    Site,
)
from kernels.families.inheritance import family_calibration
from twin.training.framework import framework
from twin.training.job import TrainingJob
from twin.workload.transformer import Transformer

SOURCES = (Source(keys=("*",), figure_class="assumed", text="round figures for a test"),)


def accelerator(
    *,
    peak: float = 1e15,
    bandwidth: float = 3e12,
    link: float = 4.5e11,
    capacity: float = 80e9,
    tdp_w: float = 700.0,
) -> Accelerator:
    """A device like an H100 with round figures."""
    provenance = Provenance(figure_class="assumed", source="a test", relative_spread_fraction=0.1)
    prior = family_calibration("generic")
    return Accelerator(
        schema_version=1,
        kind="accelerator",
        name="round-100",
        title="Round 100",
        vendor="other",
        architecture="round",
        compute=Compute(
            n_units=132,
            boost_clock_hz=1.8e9,
            peak_flop_per_s={
                "bf16": peak,
                "fp16": peak,
                "fp8": 2 * peak,
                "fp4": 4 * peak,
                "fp32": 0.06 * peak,
            },
        ),
        memory=Memory(capacity_bytes=capacity, bandwidth_bytes_per_s=bandwidth),
        link=Link(name="link", bandwidth_bytes_per_s=link, peer_bandwidth_bytes_per_s=link),
        power=DevicePower(tdp_w=tdp_w, idle_w=70.0, minimum_cap_w=200.0),
        module=Module(n_devices=1, form_factor="OAM"),
        calibration=Calibration(
            gemm=prior.gemm,
            attention={"flash-2": prior.attention["prior"]},
            collective=prior.collective,
            memory_bound=prior.memory_bound,
            power=PowerCalibration(
                busy_w=110.0,
                energy_per_flop_j=0.75e-12,
                energy_per_hbm_byte_j=4e-11,
                energy_per_link_byte_j=1e-11,
                voltage_slope=0.6,
                minimum_clock_fraction=0.3,
                provenance=provenance,
            ),
        ),
        sources=SOURCES,
    )


def machine(
    device: Accelerator | None = None,
    *,
    nic: float = 5e10,
    fabric_latency_s: float = 2e-5,
    topology: str = "switch",
) -> Machine:
    """A template of servers with eight devices and eight network cards."""
    device = device or accelerator()
    node = Node(
        schema_version=1,
        kind="node",
        name="round-node",
        title="Round node",
        accelerator=device.name,
        n_devices=8,
        intra_node=msgspec.convert({"topology": topology}, IntraNode),
        network=Network(n_nics=8, nic_bandwidth_bytes_per_s=nic),
        power=NodePower(
            n_cpus=2,
            cpu_idle_w=100.0,
            cpu_training_w=250.0,
            memory_w=150.0,
            nic_w=25.0,
            switch_w=200.0,
            storage_w=50.0,
            fan_fraction=0.1,
            supply_efficiency_fraction=0.95,
        ),
        sources=SOURCES,
    )
    cluster = Cluster(
        schema_version=1,
        kind="cluster",
        name="round",
        title="Round cluster",
        status="template",
        site="nowhere",
        partitions=(Partition(name="all", node="round-node"),),
        fabric=Fabric(
            name="fabric",
            topology="fat-tree",
            oversubscription=1.0,
            bandwidth_efficiency_fraction=0.85,
            latency_s=fabric_latency_s,
            latency_per_node_s=3e-6,
            switch_power_per_nic_w=20.0,
        ),
        sources=SOURCES,
    )
    site = Site(
        schema_version=1,
        kind="site",
        name="nowhere",
        title="Nowhere",
        country="NL",
        pue=1.2,
        sources=SOURCES,
    )
    return Machine(
        cluster=cluster,
        partition=cluster.partitions[0],
        node=node,
        accelerator=device,
        site=site,
        profile_hashes={},
    )


def model(**changes: object) -> Transformer:
    """A model of the size and shape of Llama-3-8B."""
    figures: dict[str, object] = {
        "schema_version": 1,
        "kind": "model",
        "name": "round-8b",
        "title": "Round 8B",
        "n_layers": 32,
        "hidden": 4096,
        "ffn_hidden": 14336,
        "n_heads": 32,
        "n_kv_heads": 8,
        "head_dim": 128,
        "vocabulary": 128_256,
        "is_gated_mlp": True,
        "has_tied_embeddings": False,
    }
    return msgspec.convert({**figures, **changes}, Transformer)


def job(
    where: Machine | None = None,
    *,
    what: Transformer | None = None,
    n_devices: int = 64,
    seq_len: int = 4096,
    global_batch: int = 256,
    precision: str = "bf16",
    framework_name: str = "megatron-core",
    power_cap_w: float | None = None,
) -> TrainingJob:
    """A job on a round machine."""
    where = where or machine()
    return TrainingJob(
        model=what or model(),
        machine=where,
        n_devices=n_devices,
        seq_len=seq_len,
        global_batch=global_batch,
        precision=precision,
        framework=framework(framework_name),
        power_cap_w=power_cap_w or where.accelerator.power.tdp_w,
    )
