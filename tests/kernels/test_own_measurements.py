"""What was measured by ourselves is found by the names of the catalogue."""

from __future__ import annotations

import tomllib

import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.measurements import TABLES, read_measurements
from kernels.own_measurements import MEASURED, measured_by, own_measurements


@pytest.mark.parametrize("name", ["h200-sxm", "host-cpu"])
def test_every_folder_belongs_to_an_accelerator_of_the_catalogue(name):
    accelerator = Catalogue().accelerator(name)
    found = own_measurements((accelerator.name, *accelerator.aliases))
    assert found is not None
    assert found.folder == MEASURED / name
    assert found.date.startswith("20")


def test_the_name_that_a_driver_gives_leads_to_the_profile():
    accelerator = Catalogue().accelerator("NVIDIA H200")
    assert accelerator.name == "h200-sxm"
    assert own_measurements(("NVIDIA H200",)).folder.name == "h200-sxm"


def test_a_device_that_nobody_measured_has_none():
    assert own_measurements(("no-such-device",)) is None


def test_a_folder_without_environment_is_named_after_itself(tmp_path):
    assert measured_by(tmp_path).device == tmp_path.name
    (tmp_path / "environment.json").write_text("{broken")
    assert measured_by(tmp_path).words == tmp_path.name


@pytest.mark.parametrize(
    "path",
    sorted(MEASURED.glob("*/*.csv")),
    ids=lambda path: str(path.parent.name + "/" + path.stem),
)
def test_every_table_reads(path):
    assert read_measurements(path, TABLES[path.stem])


def test_measurements_come_with_the_package(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    shipped = project["tool"]["setuptools"]["package-data"]["kernels"]
    assert {"measured/*/*.csv", "measured/*/*.json"} <= set(shipped)
