"""Names lead to files, files to machines; the user's own come first."""

import shutil

import pytest

from hardware_profiles.catalogue import SHIPPED, Catalogue
from hardware_profiles.errors import ProfileError

CLUSTER = """\
schema_version = 1
kind = "cluster"
name = "mine"
title = "My cluster"
status = "proposal"
site = "groningen"

[[partitions]]
name = "first"
node = "dgx-h100"
n_nodes = 8

[[partitions]]
name = "second"
node = "{node}"
n_nodes = 4

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


@pytest.fixture
def catalogue():
    return Catalogue()


def test_a_machine_has_every_reference_resolved(catalogue):
    machine = catalogue.machine("dgx-h100")
    assert machine.partition is machine.cluster.partitions[0]
    assert machine.node.name == machine.partition.node
    assert machine.accelerator.name == machine.node.accelerator
    assert machine.site.name == machine.cluster.site
    assert machine.overridden_keys == ()


def test_a_machine_carries_the_hash_of_each_file_used(catalogue):
    hashes = catalogue.machine("dgx-h200").profile_hashes
    assert {"cluster/dgx-h200", "node/dgx-h200", "accelerator/h200-sxm"} <= hashes.keys()
    assert {"node/dgx-h100", "accelerator/h100-sxm"} <= hashes.keys()  # what those extend
    assert all(len(value) == 64 and int(value, 16) for value in hashes.values())


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("H100", "h100-sxm"),
        ("h100-80gb", "h100-sxm"),
        ("A100-SXM4-80GB", "a100-sxm-80gb"),
        ("H100-SXM", "h100-sxm"),
        ("MI250X-GCD", "mi250x-gcd"),
        ("mi250x (ONE gcd)", "mi250x-gcd"),
    ],
)
def test_an_alias_is_exact_but_for_case(catalogue, alias, name):
    assert catalogue.accelerator(alias).name == name


@pytest.mark.parametrize("name", ["H100-SX", "h10", "100", "", "h100-sxm "])
def test_nothing_like_a_name_is_taken_for_it(catalogue, name):
    with pytest.raises(ProfileError, match="unknown"):
        catalogue.accelerator(name)


def test_an_unknown_name_lists_the_nearest_and_how_to_see_all(catalogue):
    with pytest.raises(ProfileError) as caught:
        catalogue.machine("dgx-h10")
    line = str(caught.value)
    assert line.startswith('cluster "dgx-h10": unknown; nearest dgx-h100')
    assert "twin profiles list --kind cluster" in line


def test_a_site_can_be_chosen_and_must_exist(catalogue):
    assert catalogue.machine("lumi-g", site="groningen").site.name == "groningen"
    with pytest.raises(ProfileError, match='site "groninge": unknown; nearest groningen'):
        catalogue.machine("lumi-g", site="groninge")


def test_a_path_stands_for_a_name_and_a_colon_picks_a_partition(catalogue, write):
    path = write("mine", CLUSTER.format(node="lumi-g-node"))
    assert catalogue.machine(str(path)).accelerator.name == "h100-sxm"
    assert catalogue.machine(f"{path}:second").accelerator.name == "mi250x-gcd"
    with pytest.raises(ProfileError, match='no partition "third"; expected one of first, second'):
        catalogue.machine(f"{path}:third")


def test_the_references_of_a_file_are_looked_for_in_its_folder(catalogue, write):
    path = write("mine", CLUSTER.format(node="beside"))
    with pytest.raises(ProfileError, match=r'mine.toml: node "beside": unknown'):
        catalogue.machine(f"{path}:second")
    node = (SHIPPED / "nodes" / "lumi-g-node.toml").read_text(encoding="utf-8")
    write("beside", node.replace('name = "lumi-g-node"', 'name = "beside"'))
    assert catalogue.machine(f"{path}:second").node.name == "beside"
    with pytest.raises(ProfileError):
        catalogue.node("beside")  # only for that file


def test_a_file_of_another_kind_is_refused(catalogue):
    with pytest.raises(ProfileError, match='kind = "node": expected cluster'):
        catalogue.machine(str(SHIPPED / "nodes" / "dgx-h100.toml"))


def test_the_users_folder_comes_first_flat_or_sorted(device, tmp_path):
    device("h100-sxm", change={"tdp_w = 500": "tdp_w = 321"})
    assert Catalogue([tmp_path]).machine("dgx-h100").accelerator.power.tdp_w == 321
    sorted_folder = tmp_path / "accelerators" / "vendor"
    sorted_folder.mkdir(parents=True)
    shutil.move(tmp_path / "h100-sxm.toml", sorted_folder)
    assert Catalogue([tmp_path]).machine("dgx-h100").accelerator.power.tdp_w == 321
    assert Catalogue().machine("dgx-h100").accelerator.power.tdp_w == 700


def test_of_two_folders_the_first_wins(device, tmp_path):
    for folder, tdp_w in (("one", 111), ("two", 222)):
        path = device("mine", change={"tdp_w = 500": f"tdp_w = {tdp_w}"})
        (tmp_path / folder).mkdir()
        shutil.move(path, tmp_path / folder)
    folders = [tmp_path / "two", tmp_path / "one"]
    assert Catalogue(folders).accelerator("mine").power.tdp_w == 222


@pytest.mark.parametrize("base", ["h100-sxm", "H100"])
def test_a_file_under_a_shipped_name_is_found_under_its_aliases_too(write, tmp_path, base):
    head = 'schema_version = 1\nkind = "accelerator"\nname = "h100-sxm"\n'
    write("h100-sxm", f'{head}extends = "{base}"\n[power]\ntdp_w = 321\n')
    mine = Catalogue([tmp_path])
    for name in ("h100-sxm", "H100-SXM", "H100", "H100-SXM5-80GB"):
        assert mine.accelerator(name).power.tdp_w == 321
        assert Catalogue().accelerator(name).power.tdp_w == 700


def test_a_users_alias_goes_before_a_shipped_one(device, tmp_path):
    device("mine", head='aliases = ["H100"]')
    assert Catalogue([tmp_path]).accelerator("h100").name == "mine"


def test_a_broken_file_spoils_no_other(device, write, tmp_path):
    device("mine")
    write("broken", 'kind = "accelerator"\nname = [')
    catalogue = Catalogue([tmp_path])
    assert catalogue.accelerator("mine").name == "mine"
    assert catalogue.accelerator("MINE").name == "mine"
    assert {"broken", "mine"} <= set(catalogue.names("accelerator"))
    with pytest.raises(ProfileError, match=r"broken.toml: not valid TOML"):
        catalogue.accelerator("broken")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ProfileError, match="expected a folder of profiles"):
        Catalogue([tmp_path / "absent"])


def test_a_device_without_links_cannot_stand_in_a_row(catalogue):
    overrides = [("node.accelerator", "host-cpu")]
    with pytest.raises(ProfileError, match="expected one with links"):
        catalogue.machine("dgx-h100", overrides=overrides)


def test_modules_are_whole(catalogue):
    with pytest.raises(ProfileError, match="multiple of the 2 devices of a module"):
        catalogue.machine("lumi-g", overrides=[("node.n_devices", "7")])
