"""The accelerators: which there are, how they are called, and whether their figures can be."""

import csv
import re

import pytest

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.plausibility import flop_per_cycle_per_unit

CATALOGUE = Catalogue()
NAMES = CATALOGUE.names("accelerator")
EXPECTED = set(
    re.findall(
        r"\S+",
        """
    p100-pcie-16gb p4 v100-sxm2-16gb v100-sxm2-32gb v100-pcie-32gb t4 rtx-6000-turing
    a100-sxm-40gb a100-sxm-80gb a100-sxm-64gb a100-pcie-40gb a100-pcie-80gb a800-sxm-80gb a40 l4
    l40s h100-sxm h100-pcie-80gb h100-nvl-94gb h100-sxm-64gb h100-sxm-94gb h100-94gb-low-tdp
    h100-96gb-500w h800-sxm-80gb h200-sxm h200-nvl gh200-96gb gh200-144gb b200-sxm
    b200-power-limited b200-sxm-simumax gb200 b300-sxm gb300 rtx-pro-6000-server rubin mi100 mi210
    mi250-gcd mi250x-gcd mi300a mi300x mi308x mi325x mi350x mi355x mi430x mi455x rhea1 host-cpu
    """,
    )
)
# Dense 16-bit operations of one unit in a cycle, as the generations define them. [flop]
UNIT_WIDTHS = {
    "pascal": {256},
    "volta": {1024},
    "turing": {1024},
    "ampere": {2048, 1024},  # the latter on cards for graphics
    "ada": {1024},
    "hopper": {4096},
    "blackwell": {8192},
    "blackwell-gddr": {1024},
    "rubin": {8192},
    "cdna": {512},
    "cdna2": {1024},
    "cdna3": {2048},
    "cdna4": {4096},
    "cdna5": {8192},
    "neoverse-v1": {128},
    "x86-64": set(),
}
ANNOUNCED = {"rubin", "mi430x", "mi455x", "rhea1"}
# Names that public tables of measurements and training runs use.
SPELLINGS = {
    "A100": "a100-sxm-80gb",
    "A100-80GB": "a100-sxm-80gb",
    "A100-SXM4": "a100-sxm-80gb",
    "A100-SXM4-40GB": "a100-sxm-40gb",
    "A100-PCIE-40GB": "a100-pcie-40gb",
    "A100-PCIE-80GB": "a100-pcie-80gb",
    "A800-80GB (400 W TDP as listed)": "a800-sxm-80gb",
    "B200 (power limited)": "b200-power-limited",
    "B300-SXM": "b300-sxm",
    "GH200-144GB": "gh200-144gb",
    "GH200-96GB (JEDI)": "gh200-96gb",
    "H100-94GB-HBM2e-low-TDP": "h100-94gb-low-tdp",
    "H100-96GB-HBM2e-500W": "h100-96gb-500w",
    "H100-PCIE-80GB": "h100-pcie-80gb",
    "H100-SXM5-64GB": "h100-sxm-64gb",
    "MI250-1GCD": "mi250-gcd",
    "MI250X-1GCD": "mi250x-gcd",
    "P100": "p100-pcie-16gb",
    "RTX-PRO-6000-BSE": "rtx-pro-6000-server",
    "RTX6000-Turing": "rtx-6000-turing",
    "V100-16GB": "v100-sxm2-16gb",
    "V100-PCIE-32GB(zeus)": "v100-pcie-32gb",
    "V100-SXM2-32GB": "v100-sxm2-32gb",
    "gfx90a(104CU: MI210/MI250 GCD)": "mi210",
}
# Figures as the vendors print them: bf16 or fp16 TFLOP/s, GB/s, GiB, W.
PRINTED = {
    "p100-pcie-16gb": (18.7, 732, 16, 250),
    "v100-sxm2-32gb": (125, 900, 32, 300),
    "t4": (65, 320, 16, 70),
    "a40": (149.7, 696, 48, 300),
    "l40s": (362, 864, 48, 350),
    "a100-pcie-80gb": (312, 1935, 80, 300),
    "h100-pcie-80gb": (756, 2000, 80, 350),
    "mi210": (181, 1638, 64, 300),
    "mi300a": (980.6, 5300, 128, 550),
    "mi355x": (2516.6, 8000, 288, 1400),
}
PCIE_BYTES_PER_S = {"3": 15.75e9, "4": 31.5e9, "5": 63e9}
MEASURED_TABLES = (
    *("gemm.parquet", "attention.parquet", "power.parquet", "collectives.csv", "membw.csv"),
    *("ops.csv", "peaks.csv", "noise_floor.csv", "summary.csv", "gemm_releff_amd.csv"),
    *("attention_more.csv", "collectives_more.csv", "power_more.csv"),
)
RUN_TABLES = (
    *("runs.csv", "runs_more.csv", "runs_vtrain_single_node.csv", "whole_runs.csv"),
    *("runs_recalled_unverified.csv", "mlperf_node_power.csv"),
)
TABLES = (
    *(f"measurements/{name}" for name in MEASURED_TABLES),
    *(f"published_runs/{name}" for name in RUN_TABLES),
)
# A processor among accelerators: collectives between hosts.
NO_ACCELERATOR = {"HOST-CPU(LUMI)"}


def complete():
    """Every accelerator whose figures are all known."""
    things = [CATALOGUE.load("accelerator", name).thing for name in NAMES]
    return [thing for thing in things if isinstance(thing, Accelerator)]


def found(spelling):
    """Accelerators that carry a name or an alias, case apart."""
    known = [(name, name) for name in NAMES] + list(CATALOGUE.aliases("accelerator").items())
    return {name for known_as, name in known if known_as.lower() == spelling.lower()}


def test_the_catalogue_has_the_parts_it_is_asked_about():
    assert set(NAMES) == EXPECTED


def test_announced_parts_are_marked_and_no_others():
    things = [CATALOGUE.load("accelerator", name).thing for name in NAMES]
    assert {thing.name for thing in things if thing.status == "announced"} == ANNOUNCED


def test_families_have_fixed_names_so_that_parts_can_inherit():
    things = [CATALOGUE.load("accelerator", name).thing for name in NAMES]
    assert {thing.architecture for thing in things} == set(UNIT_WIDTHS)


@pytest.mark.parametrize(("spelling", "name"), SPELLINGS.items())
def test_spellings_of_public_tables_lead_to_one_accelerator(spelling, name):
    assert found(spelling) == {name}
    assert CATALOGUE.accelerator(spelling).name == name


@pytest.mark.parametrize("spelling", ["HOST-CPU(LUMI)", "A100-40", "MI250X-2GCD", "H100-"])
def test_nothing_else_is_taken_for_one(spelling):
    assert found(spelling) == set()


@pytest.mark.parametrize("table", TABLES)
def test_every_device_of_the_shared_tables_is_exactly_one_accelerator(shared_data, table):
    devices = devices_of(shared_data(table))
    assert devices
    for device in devices - NO_ACCELERATOR:
        assert len(found(device)) == 1, device
    for device in devices & NO_ACCELERATOR:
        assert not found(device)


def devices_of(path):
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        return set(parquet.read_table(path, columns=["device"])["device"].to_pylist())
    with path.open(encoding="utf-8") as lines:
        return {row["device"] for row in csv.DictReader(lines)}


def test_dense_peaks_are_those_of_the_measurements(shared_data):
    with shared_data("measurements/peaks.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if float(row["bf16_fp16_tflops"])]
    assert len(rows) > 20
    for row in rows:
        peaks = CATALOGUE.accelerator(row["device"]).compute.peak_flop_per_s
        expected = 1e12 * float(row["bf16_fp16_tflops"])
        # P100: the table's peak is at the highest clock, the profile's at the datasheet's.
        known = {peaks.get("bf16"), peaks.get("fp16")}
        assert any(peak == pytest.approx(expected, rel=0.02) for peak in known), row["device"]


@pytest.mark.parametrize("device", complete(), ids=lambda device: device.name)
class TestFigures:
    def test_units_do_the_work_of_their_family(self, device):
        rate = flop_per_cycle_per_unit(device)
        widths = UNIT_WIDTHS[device.architecture]
        if rate is not None:
            assert any(rate == pytest.approx(width, rel=0.04) for width in widths)

    def test_only_generations_with_bf16_have_it(self, device):
        without = {"pascal", "volta", "turing", "x86-64"}
        has_bf16 = "bf16" in device.compute.peak_flop_per_s
        assert has_bf16 == (device.architecture not in without)

    def test_only_generations_with_fp8_have_it(self, device):
        with_fp8 = {"ada", "hopper", "blackwell", "blackwell-gddr", "rubin"}
        with_fp8 |= {"cdna3", "cdna4", "cdna5"}
        assert ("fp8" in device.compute.peak_flop_per_s) == (device.architecture in with_fp8)

    def test_memory_feeds_the_units_as_in_real_machines(self, device):
        peak = max(device.compute.peak_flop_per_s.values())
        assert 1.0 < peak / device.memory.bandwidth_bytes_per_s < 2_000.0
        assert 0.1 < device.memory.capacity_bytes / device.memory.bandwidth_bytes_per_s * 10 < 6.0
        caches = (device.memory.l2_bytes, device.memory.last_level_cache_bytes)
        assert all(cache is None or cache < 0.01 * device.memory.capacity_bytes for cache in caches)

    def test_power_is_that_of_a_board(self, device):
        assert 0.05 * device.power.tdp_w <= device.power.idle_w <= 0.3 * device.power.tdp_w

    def test_a_card_without_links_of_its_own_has_its_slot(self, device):
        if device.link is None:
            assert device.vendor == "host"
            return
        slot = re.fullmatch(r"PCIe (\d) x16", device.link.name)
        if slot:
            rate = PCIE_BYTES_PER_S[slot[1]]
            assert device.link.bandwidth_bytes_per_s == rate
            assert device.link.peer_bandwidth_bytes_per_s == rate
        else:
            assert device.link.bandwidth_bytes_per_s > 2 * PCIE_BYTES_PER_S["5"]


@pytest.mark.parametrize(("name", "printed"), PRINTED.items())
def test_printed_figures_are_taken_over(name, printed):
    device = CATALOGUE.accelerator(name)
    peaks = device.compute.peak_flop_per_s
    assert (
        peaks.get("bf16", peaks.get("fp16")) / 1e12,
        device.memory.bandwidth_bytes_per_s / 1e9,
        device.memory.capacity_bytes / 2**30,
        device.power.tdp_w,
    ) == pytest.approx(printed)


def test_one_die_is_one_device():
    die = CATALOGUE.accelerator("mi250x-gcd")
    assert die.module.n_devices == 2
    assert die.power.tdp_w * 2 == 560
    assert die.compute.peak_flop_per_s["bf16"] * 2 == pytest.approx(383e12)
    assert die.memory.capacity_bytes == 64 * 2**30


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("a100-sxm-40gb", "a100-sxm-80gb"),
        ("a100-pcie-40gb", "a100-pcie-80gb"),
        ("v100-sxm2-16gb", "v100-sxm2-32gb"),
    ],
)
def test_a_larger_part_holds_more(small, large):
    small, large = CATALOGUE.accelerator(small), CATALOGUE.accelerator(large)
    assert large.memory.capacity_bytes == 2 * small.memory.capacity_bytes
    assert large.compute == small.compute


def test_infinity_cache_is_told_from_the_second_level():
    for name in ("mi300x", "mi300a", "mi325x", "mi355x"):
        assert CATALOGUE.accelerator(name).memory.last_level_cache_bytes == 256 * 2**20
    assert CATALOGUE.accelerator("mi250x-gcd").memory.last_level_cache_bytes is None
