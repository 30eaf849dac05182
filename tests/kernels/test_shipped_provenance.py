"""Shipped constants say when and by which code they were fitted."""

import hashlib
import tomllib

import pytest

from hardware_profiles.catalogue import SHIPPED
from kernels.families.inheritance import FOLDER

FILES = [*SHIPPED.rglob("accelerators/**/*.toml"), *FOLDER.glob("*.toml")]
OF_NOTHING = hashlib.sha256().hexdigest()


def fits(table, path=""):
    """Provenances of what was fitted to rows, by their place in a document."""
    for name, value in table.items():
        if isinstance(value, dict):
            place = f"{path}.{name}".lstrip(".")
            if name == "provenance" or name.endswith("_provenance"):
                if value["figure_class"] == "fitted":
                    yield place, value
            else:
                yield from fits(value, place)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_fit_has_its_day_and_code(path):
    for place, provenance in fits(tomllib.loads(path.read_text(encoding="utf-8"))):
        assert "date" in provenance, place
        version, _, code = provenance["code_version"].partition("+")
        assert version, place
        assert not (code and OF_NOTHING.startswith(code)), place
        is_judged = "heldout_median_ape_fraction" in provenance
        assert provenance.get("n_heldout", 0) > 0 or not is_judged, place


def test_fits_of_one_run_are_of_one_code():
    """Products, attention, collectives and operations of the catalogue were fitted together."""
    codes = {
        provenance["code_version"]
        for path in FILES
        if path.stem not in {"host-cpu", "generic"}
        for place, provenance in fits(tomllib.loads(path.read_text(encoding="utf-8")))
        if "power" not in place
    }
    assert len(codes) == 1
