"""HPL of public systems: the table, what is compared, and what is said of the others."""

from __future__ import annotations

import csv

import pytest

from hardware_profiles.catalogue import Catalogue
from twin.validation.csv_rows import TableError
from twin.validation.systems import validate_systems
from twin.validation.systems_table import PUBLIC_SYSTEMS, read_systems


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue()


@pytest.fixture(scope="module")
def report(catalogue):
    return validate_systems(None, catalogue=catalogue)


def write(tmp_path, *lines):
    path = tmp_path / "systems.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_figure_of_the_table_has_a_source():
    with PUBLIC_SYSTEMS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(row["sources"] for row in rows)


def test_every_quantity_agrees_with_its_parts(report):
    for one in report.systems:
        assert one.predicted_flop_per_j == pytest.approx(one.predicted_flop_per_s / one.predicted_w)
        assert one.flop_per_s_interval.p10 < one.predicted_flop_per_s
        assert one.power_interval.p10 < one.predicted_w < one.power_interval.p90
        assert one.predicted_idle_w < one.predicted_w
        nodes_w = one.n_nodes * one.node_power_w
        assert one.predicted_w == pytest.approx(nodes_w + one.network_power_w)


def test_systems_with_measured_devices_are_near_the_lists(report):
    """The rate of MI250X systems is not: the energy of their operations is assumed."""
    for one in report.systems:
        if one.flop_per_s_error is not None and one.accelerator != "mi250x-gcd":
            assert abs(one.flop_per_s_error) < 0.12, one.name
        if one.ape is not None:
            assert one.ape < 0.12, one.name
    errors = {entry.name: entry for entry in report.by_quantity}
    assert errors["power_w"].left_out_median_ape < 0.1
    assert errors["flop_per_s"].left_out_median_ape < 0.1


def test_a_fit_without_an_accelerator_is_reported_beside(report):
    judged = [one for one in report.systems if one.measured_flop_per_s is not None]
    assert all(one.left_out_flop_per_s is not None for one in judged)
    assert set(report.refitted) == set(report.constants)


def test_a_system_that_the_catalogue_lacks_says_so(report):
    whys = {row["name"]: row["why"] for row in report.unpredicted}
    assert "not in the catalogue" in whys["El Capitan"]
    assert report.rows == report.covered + len(report.unpredicted)


def test_a_figure_from_memory_is_not_compared(report):
    (one,) = [one for one in report.systems if one.name == "MareNostrum 5 ACC"]
    assert one.recalled == ("hpl_power_kw",)
    assert one.measured_w is None
    assert one.ape is None
    assert one.predicted_w > 0.0


def test_a_table_of_ones_own_takes_the_place_of_the_shipped_one(tmp_path, catalogue):
    lines = ["system,cluster,nodes,hpl_pflops,hpl_power_kw", "mine,leonardo,100,6,220"]
    found = validate_systems(write(tmp_path, *lines), catalogue=catalogue)
    (one,) = found.systems
    assert one.n_devices == 400
    assert one.measured_flop_per_s == 6e15
    assert one.measured_flop_per_j == pytest.approx(6e15 / 220e3)
    assert one.left_out_flop_per_s is None


def test_a_name_finds_its_cluster_and_a_template_needs_nodes(tmp_path, catalogue):
    lines = ["system,nodes", "Leonardo Booster (half),1728", "DGX H100,", "LUMI-AI,"]
    found = validate_systems(write(tmp_path, *lines), catalogue=catalogue)
    assert [one.cluster for one in found.systems] == ["leonardo"]
    whys = {row["name"]: row["why"] for row in found.unpredicted}
    assert "states the number of nodes" in whys["DGX H100"]
    assert "no cluster profile lumi-ai" in whys["LUMI-AI"]
    assert found.refitted is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a,lumi-g,10,nan,", 'column hpl_pflops: "nan"; expected a number above 0'),
        ("a,lumi-g,10,-3,", 'column hpl_pflops: "-3"'),
        ("a,lumi-g,1.5,3,", 'column nodes: "1.5"; expected a whole number'),
        ("a,lumi-g,10,3,many", 'column hpl_power_kw: "many"'),
        (",lumi-g,10,3,", 'column system: ""; expected a name'),
        ("a,lumi-g", "line ends early: 2 cells up to column cluster"),
        ("a,lumi-g,10,3,,5", "line is too long"),
    ],
)
def test_a_bad_cell_is_one_line(tmp_path, line, fault):
    path = write(tmp_path, "system,cluster,nodes,hpl_pflops,hpl_power_kw", line)
    with pytest.raises(TableError) as caught:
        read_systems(path)
    assert fault in str(caught.value)
    assert f"{path}:2" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a,leonrdo,10,", 'column cluster: cluster "leonrdo": unknown; nearest leonardo'),
        ("a,absent.toml,10,", "column cluster: "),
        ("a,lumi-g,10,5000", 'column power_cap_w: "5000"; expected 44 to 280 W a device'),
        ("a,lumi-g,10,1", 'column power_cap_w: "1"'),
    ],
)
def test_what_the_catalogue_contradicts_is_one_line(tmp_path, catalogue, line, fault):
    path = write(tmp_path, "system,cluster,nodes,power_cap_w", line)
    with pytest.raises(TableError) as caught:
        validate_systems(path, catalogue=catalogue)
    assert f"{path}:2: {fault}" in str(caught.value)


def test_a_partition_and_a_file_of_ones_own_are_found(tmp_path, catalogue, repository):
    own = repository / "hardware_profiles" / "clusters" / "leonardo.toml"
    path = write(tmp_path, "system,cluster,nodes", "a,alps:a100,", f"b,{own},10")
    found = validate_systems(path, catalogue=catalogue)
    assert [one.n_devices for one in found.systems] == [576, 40]


def test_unknown_columns_repeated_systems_and_empty_tables_are_refused(tmp_path):
    with pytest.raises(TableError, match=r'unknown column "rmax"'):
        read_systems(write(tmp_path, "system,rmax"))
    with pytest.raises(TableError, match="each system once"):
        read_systems(write(tmp_path, "system,nodes", "a,1", "a,2"))
    with pytest.raises(TableError, match="holds no rows"):
        read_systems(write(tmp_path, "system,nodes"))
    with pytest.raises(TableError, match="does not exist"):
        read_systems(tmp_path / "absent.csv")


def test_wider_tables_of_systems_are_read(shared_data, catalogue):
    found = validate_systems(shared_data("facts/systems.csv"), catalogue=catalogue)
    names = {one.cluster for one in found.systems if one.measured_flop_per_s is not None}
    assert names == {"lumi-g", "leonardo", "marenostrum5-acc", "jupiter", "alps"}
