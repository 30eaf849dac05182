"""The shipped profiles: complete, sourced, and in line with what was measured."""

import csv

import pytest

from hardware_profiles.catalogue import SHIPPED, Catalogue
from hardware_profiles.check import check_files, figures
from hardware_profiles.schema import KINDS
from hardware_profiles.sources import figure_source

CATALOGUE = Catalogue()
CLUSTERS = (
    "dgx-a100",
    "dgx-h100",
    "dgx-b200",
    "mi300x-oam8",
    "snellius-h100",
    "lumi-g",
    "ai-factory-groningen",
    "host",
)
ALL = [(kind, name) for kind in KINDS for name in CATALOGUE.names(kind)]


def test_every_shipped_file_passes_without_a_doubt():
    files = sorted(SHIPPED.rglob("*.toml"))
    assert len(files) == len(ALL)
    assert check_files(files, CATALOGUE) == ()


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_figure_can_be_traced(kind, name):
    loaded = CATALOGUE.load(kind, name)
    for key, _ in figures(loaded.table):
        assert figure_source(loaded.thing, key), key


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_clusters_of_the_first_step_make_machines(name):
    machine = CATALOGUE.machine(name)
    assert machine.accelerator.power.tdp_w > machine.accelerator.power.idle_w


def test_a_proposal_may_hold_both_vendors():
    cluster = CATALOGUE.cluster("ai-factory-groningen")
    vendors = [
        CATALOGUE.machine(f"ai-factory-groningen:{partition.name}").accelerator.vendor
        for partition in cluster.partitions
    ]
    assert cluster.status == "proposal"
    assert {"nvidia", "amd"} == set(vendors)
    assert CATALOGUE.machine("ai-factory-groningen").partition == cluster.partitions[0]


def inlet_w(cluster, *, device_w, is_training):
    """Power of one node at its inlet, from its parts. [W]"""
    node = CATALOGUE.machine(cluster).node
    parts = node.power
    cpu_w = parts.cpu_training_w if is_training else parts.cpu_idle_w
    behind_supplies_w = (
        node.n_devices * device_w
        + parts.n_cpus * cpu_w
        + parts.memory_w
        + node.network.n_nics * parts.nic_w
        + parts.switch_w
        + parts.storage_w
    ) * (1.0 + parts.fan_fraction)
    return behind_supplies_w / parts.supply_efficiency_fraction


def test_the_parts_of_an_h100_server_sum_to_the_metered_one():
    # MLPerf v4.0 with power: 6.8 to 7.2 kW; GPUs near 630 W over the whole run
    assert 6_800 < inlet_w("dgx-h100", device_w=630, is_training=True) < 7_400
    # Latif et al.: never above 8.4 kW in training
    assert inlet_w("dgx-h100", device_w=700, is_training=True) < 8_400


def test_the_parts_of_an_a100_server_sum_to_the_production_ones():
    # InternLM/AcmeTrace: 1512 W idle (5th percentile), 4851 W at the 90th, 6554 W at most
    assert inlet_w("dgx-a100", device_w=62, is_training=False) == pytest.approx(1512, rel=0.1)
    assert inlet_w("dgx-a100", device_w=400, is_training=True) == pytest.approx(4851, rel=0.1)


def test_the_parts_of_a_lumi_node_sum_to_those_of_the_simulator():
    # ExaDigiT/RAPS: 626 W idle behind the supplies, 2704 W with all dies at their limit and the
    # processor at 280 W instead of 153 W
    efficiency = CATALOGUE.node("lumi-g-node").power.supply_efficiency_fraction
    idle_w = inlet_w("lumi-g", device_w=44, is_training=False) * efficiency
    peak_w = inlet_w("lumi-g", device_w=280, is_training=True) * efficiency
    assert idle_w == pytest.approx(626, rel=0.02)
    assert peak_w == pytest.approx(2704 - 127, rel=0.02)


def test_one_die_is_one_device():
    die = CATALOGUE.accelerator("mi250x-gcd")
    assert die.module.n_devices == 2
    assert die.power.tdp_w * 2 == 560
    assert die.compute.peak_flop_per_s["bf16"] * 2 == pytest.approx(383e12)
    assert die.memory.capacity_bytes == 64 * 2**30


def test_a_larger_part_holds_more():
    small, large = (CATALOGUE.accelerator(f"a100-sxm-{gb}gb") for gb in (40, 80))
    assert large.memory.capacity_bytes == 2 * small.memory.capacity_bytes
    assert large.compute == small.compute


@pytest.mark.parametrize(
    "folder_and_column",
    ["published_runs/runs.csv", "published_runs/runs_more.csv", "measurements/peaks.csv"],
)
def test_names_of_devices_in_shared_data_are_known(shared_data, folder_and_column):
    # parts that have no profile yet
    later = {"L40S", "MI350X", "V100-32GB", "V100-16GB", "B200 (power limited)"}
    later |= {"A100-PCIE-40GB", "A100-PCIE-80GB", "B300-SXM", "GB300", "RTX-PRO-6000-BSE"}
    later |= {"GH200-144GB", "V100-PCIE-32GB", "V100-SXM2-32GB", "P100-PCIE-16GB", "P4", "T4"}
    later |= {"L4", "MI100", "MI210", "MI308X", "MI355X"}
    with shared_data(folder_and_column).open(encoding="utf-8") as lines:
        devices = {row["device"] for row in csv.DictReader(lines)}
    unknown = {name for name in devices - later if not CATALOGUE.find("accelerator", name)}
    assert unknown == set()


def test_dense_peaks_are_those_of_the_measurements(shared_data):
    with shared_data("measurements/peaks.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    judged = 0
    for row in rows:
        if not CATALOGUE.find("accelerator", row["device"]):
            continue
        peaks = CATALOGUE.accelerator(row["device"]).compute.peak_flop_per_s
        assert peaks["bf16"] == pytest.approx(1e12 * float(row["bf16_fp16_tflops"]), rel=0.005)
        judged += 1
    assert judged >= 8
