"""What `twin profiles check` must find, and what it must let pass."""

import pytest

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.check import check_files


def judge(path, *folders):
    return check_files([path], Catalogue(folders))


def errors(path, *folders):
    return [f.message for f in judge(path, *folders) if f.severity == "error"]


def warnings(path):
    findings = judge(path)
    assert not [f for f in findings if f.severity == "error"]
    return [f.message for f in findings]


def test_a_sound_file_passes(device):
    assert judge(device()) == ()


def test_a_figure_without_a_source_is_named(device):
    path = device(change={'keys = ["*"]': 'keys = ["compute.*", "memory.*", "link.*", "module.*"]'})
    assert [line.split(": ")[1] for line in errors(path)] == [
        "power.tdp_w = 500",
        "power.idle_w = 50",
    ]


@pytest.mark.parametrize("text", ['""', '"  "'])
def test_a_source_that_says_nothing_is_none(device, text):
    path = device(change={'text = "a test"': f"text = {text}"})
    assert "expected the document behind the figures" in errors(path)[0]


def test_a_source_for_a_figure_that_is_not_there_is_a_slip(device):
    tail = '[[sources]]\nkeys = ["power.tpd_w"]\nfigure_class = "datasheet"\ntext = "a sheet"\n'
    (line,) = errors(device(tail=tail))
    assert 'keys = "power.tpd_w": names no figure of this profile; nearest is power.tdp_w' in line


def test_a_source_may_name_what_the_base_states(device, child, tmp_path):
    device("base")
    source = '[[sources]]\nkeys = ["memory.*"]\nfigure_class = "datasheet"\ntext = "a sheet"\n'
    assert errors(child("mine", "base", source), tmp_path) == []


def test_a_source_of_the_base_does_not_cover_what_a_child_changes(device, child, tmp_path):
    device("base")
    path = child("mine", "base", "[power]\ntdp_w = 400\n")
    assert "power.tdp_w = 400: expected a source" in errors(path)[0]
    source = '[[sources]]\nkeys = ["power.*"]\nfigure_class = "datasheet"\ntext = "mine"\n'
    path = child("mine", "base", f"[power]\ntdp_w = 400\n{source}")
    assert errors(path) == []
    assert errors(path, tmp_path) == []


def test_the_name_is_that_of_the_file(device):
    path = device().rename(device().with_name("other.toml"))
    assert 'name = "own": expected "other"' in errors(path)[0]


def test_all_errors_of_a_file_are_listed(device):
    path = device(change={"tdp_w = 500": "tpd_w = 500", "n_units = 100": "n_units = -1"})
    assert len(errors(path)) == 2


def test_the_silicon_of_a_card_must_be_known(device):
    change = {"tdp_w = 500": 'tdp_w = 500\nsame_silicon_as = "h100-sxn"'}
    (line,) = errors(device(change=change))
    assert 'power.same_silicon_as = "h100-sxn": ' in line
    assert "nearest h100-sxm" in line


def test_references_must_lead_somewhere(write):
    site = 'schema_version = 1\nkind = "cluster"\nname = "mine"\ntitle = "M"\nsite = "nowhere"\n'
    rest = """status = "template"
partitions = [{ name = "all", node = "dgx-h10" }]
[fabric]
name = "own"
topology = "fat-tree"
oversubscription = 1
bandwidth_efficiency_fraction = 0.85
latency_us = 20
latency_per_node_us = 5
switch_power_per_nic_w = 50
[[sources]]
keys = ["*"]
figure_class = "assumed"
text = "a test"
"""
    found = errors(write("mine", site + rest))
    assert any('site "nowhere": unknown' in line for line in found)
    assert any('node "dgx-h10": unknown; nearest dgx-h100' in line for line in found)
    sized = errors(
        write("mine", site + rest.replace("dgx-h10", 'dgx-h100", n_nodes = 3, name2 = "'))
    )
    assert any("unknown key" in line for line in sized)
    sized = errors(write("mine", site + rest.replace('"dgx-h10"', '"dgx-h100", n_nodes = 3')))
    assert any("expected no n_nodes in a template" in line for line in sized)


def test_an_alias_stands_for_one_thing(device, tmp_path):
    path = device(head='aliases = ["H100-80GB"]')
    assert '"h100-80gb" already stands for accelerator h100-sxm' in errors(path)[0]
    first, second = device("one", head='aliases = ["X"]'), device("two", head='aliases = ["x"]')
    findings = check_files([first, second], Catalogue())
    assert [f.path for f in findings] == [second]


def test_a_file_in_place_of_a_shipped_one_may_keep_its_aliases(child, tmp_path):
    path = child("h100-sxm", "h100-sxm", 'aliases = ["H100"]\n')
    assert errors(path, tmp_path) == []


def test_a_sparse_peak_of_a_known_family_is_doubted(device):
    # 1979 for bf16 is what many lists give for an H100: the rate with sparsity.
    sparse = {
        'architecture = "own"': 'architecture = "hopper"',
        "n_units = 100": "n_units = 132",
        "boost_clock_mhz = 1000": "boost_clock_mhz = 1830",
        "bf16_tflop_per_s = 204.8": "bf16_tflop_per_s = 1979",
    }
    (doubt,) = warnings(device(change=sparse))
    assert "8193 flop per cycle and unit" in doubt
    assert "sparse rate" in doubt
    dense = sparse | {"bf16_tflop_per_s = 204.8": "bf16_tflop_per_s = 989"}
    assert warnings(device(change=dense)) == []


def test_cards_for_graphics_have_narrower_units_than_their_family(device):
    # an A40 beside A100s: 1024 operations instead of 2048
    narrow = {'architecture = "own"': 'architecture = "ampere"', "204.8": "102.4"}
    assert warnings(device(change=narrow)) == []


def test_a_type_that_was_given_up_is_no_slip(device):
    # Blackwell Ultra: int8 at a fifteenth of bf16
    slow = {"bf16_tflop_per_s = 204.8": "bf16_tflop_per_s = 204.8\nint8_tflop_per_s = 14"}
    assert warnings(device(change=slow)) == []


@pytest.mark.parametrize("peak", ["150", "307.2"])
def test_a_peak_that_no_unit_and_clock_make_is_doubted(device, peak):
    assert "power of two" in warnings(device(change={"204.8": peak}))[0]


def test_one_sparse_dtype_among_dense_ones_is_doubted(device):
    more = {"bf16_tflop_per_s = 204.8": "bf16_tflop_per_s = 204.8\nfp8_tflop_per_s = 819.2"}
    assert "4.00 times that of bf16" in warnings(device(change=more))[0]


def test_a_slower_narrow_type_is_impossible(device):
    more = {"bf16_tflop_per_s = 204.8": "bf16_tflop_per_s = 204.8\nfp8_tflop_per_s = 102.4"}
    assert "expected at least that of bf16" in errors(device(change=more))[0]


def test_a_placeholder_is_doubted_until_a_document_stands_there(device):
    assert "placeholder" in warnings(device(change={'"a test"': '"placeholder of mine"'}))[0]
