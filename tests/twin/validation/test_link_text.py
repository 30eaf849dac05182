import pytest

from twin.validation.link_text import inter_node_bandwidth_bytes_per_s


@pytest.mark.parametrize(
    ("text", "gbit_per_s"),
    [
        ("1600 Gb/s per node RoCE", 1600),
        ("RDMA 400 Gb/s per GPU", 3200),
        ("4x100 Gb/s RoCE", 400),
        ("8x400 Gb/s InfiniBand per node", 3200),
        ("400 Gb/s per node (as stated, unit of sharing not stated)", 400),
        ("Omni-Path, 4 links of 100 Gbit/s per node (Jean Zay)", 400),
        ("Omni-Path, 400 Gbit/s per node nominal (Jean Zay)", 400),
        ("8x HDR InfiniBand 200 Gbit/s per node (Selene)", 1600),
        ("BF3 200Gbps for NS and 2xBF3 400Gbps for EW", 800),
        ("8x ConnectX-7 IB NDR 400Gb/s + 200Gb/s Ethernet NIC", 3200),
        ("1x Ethernet 100Gb/Sec, 8x NVIDIA Quantum-2 CX7 InfiniBand (400Gb/s)", 3200),
        ("Storage&Compute: 4x ConnectX-7 IB NDR 400Gb/s, Management: 25Gb/s Ethe", 1600),
        # These break off before the rate of the compute links: the generation says it.
        ("Storage: 2x ConnectX-7 IB NDR 400Gb/s, Compute: 8x ConnectX-7 IB NDR 4", 3200),
    ],
)
def test_a_stated_rate_is_that_of_the_node(text, gbit_per_s):
    bandwidth = inter_node_bandwidth_bytes_per_s(text, devices_per_node=8)
    assert bandwidth == pytest.approx(gbit_per_s * 1e9 / 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Infiniband, Ethernet",
        "Ethernet(RoCEv2)",
        # Of a node or of a device: the text does not say.
        "RoCE 400 Gbit/s",
        # Gigabytes of a bus are no network.
        "ROCE2; Data bandwidth for GPU-PCIe: 504 GB/s; PCIe-NIC: 500 GB/s",
        # The rate left in this one is that of the storage.
        "Storage+Management: 1x NVIDIA BlueField 2 DPU 100Gb/s, Compute: 8x NVI",
    ],
)
def test_what_is_not_stated_stays_open(text):
    assert inter_node_bandwidth_bytes_per_s(text, devices_per_node=8) is None
