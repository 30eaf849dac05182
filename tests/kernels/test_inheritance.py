"""Where a device takes constants from when it has none of its own."""

import hashlib

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration
from hardware_profiles.catalogue import Catalogue
from kernels.calibration.render import rendered_calibration
from kernels.families.inheritance import (
    FOLDER,
    GENERIC,
    calibration_sources,
    completed_calibration,
    family_calibration,
    family_hashes,
    inherited_calibration,
    related_architectures,
)

CATALOGUE = Catalogue()
KINDS = ("gemm", "attention", "collective", "memory_bound")


def bare(name: str, architecture: str | None = None) -> Accelerator:
    """A device of the catalogue as if nobody had measured it."""
    device = CATALOGUE.accelerator(name)
    return msgspec.structs.replace(
        device, calibration=Calibration(), architecture=architecture or device.architecture
    )


def spreads(held: object) -> list[float]:
    if isinstance(held, dict):
        own = [held["relative_spread_fraction"]] if "relative_spread_fraction" in held else []
        return own + [spread for value in held.values() for spread in spreads(value)]
    return []


def test_each_file_behind_inherited_constants_has_a_hash():
    own, taken_over = CATALOGUE.accelerator("l4"), bare("l4")
    hashes = family_hashes(taken_over)
    assert {"family/ada", "family/relatives", "family/blackwell-gddr"} <= set(hashes)
    assert set(family_hashes(own)) < set(hashes)
    text = (FOLDER / "ada.toml").read_bytes()
    assert hashes["family/ada"] == hashlib.sha256(text).hexdigest()
    # With every entry of every family of its own a device needs none.
    whole = msgspec.structs.replace(own, calibration=completed_calibration(taken_over))
    assert family_hashes(whole) == {}


def test_what_a_device_has_itself_comes_first():
    device = CATALOGUE.accelerator("h100-sxm")
    assert completed_calibration(device).gemm["bf16"] is device.calibration.gemm["bf16"]


def test_every_device_of_the_catalogue_has_every_family_of_kernels():
    for name in CATALOGUE.names("accelerator"):
        device = CATALOGUE.load("accelerator", name).thing
        if isinstance(device, Accelerator):
            complete = completed_calibration(device)
            assert complete.gemm
            assert complete.attention
            assert {"all_reduce", "all_gather", "reduce_scatter"} <= set(complete.collective)
            assert complete.memory_bound is not None


def test_an_unmeasured_device_takes_its_own_architecture_before_others():
    family = family_calibration("hopper")
    assert family is not None
    assert completed_calibration(bare("h100-sxm")).gemm["bf16"] == family.gemm["bf16"]


def test_constants_of_another_architecture_are_less_certain():
    own = completed_calibration(bare("h100-sxm")).gemm["bf16"]
    foreign = completed_calibration(bare("h100-sxm", "rubin")).gemm["bf16"]
    assert foreign.provenance.relative_spread_fraction > own.provenance.relative_spread_fraction


def test_an_unknown_architecture_takes_middle_values():
    complete = completed_calibration(bare("h100-sxm", "unheard-of"))
    generic = family_calibration(GENERIC)
    assert generic is not None
    assert set(complete.gemm) == set(generic.gemm)
    assert complete.attention.keys() == generic.attention.keys()


def test_what_is_taken_over_carries_the_spread_of_devices_left_out():
    for kind in KINDS:
        for source in calibration_sources(bare("b200-sxm", "unheard-of"), kind)[1:]:
            found = spreads(msgspec.to_builtins(source))
            assert min(found) >= 0.08


def test_relatives_are_architectures_of_the_catalogue_and_never_oneself():
    known = {
        CATALOGUE.load("accelerator", name).thing.architecture
        for name in CATALOGUE.names("accelerator")
    }
    for architecture in known:
        for kind in KINDS:
            relatives = related_architectures(architecture, kind)
            assert set(relatives) <= known
            assert architecture not in relatives


def test_an_extended_profile_takes_over_constants_and_not_their_errors(tmp_path):
    (tmp_path / "child.toml").write_text(
        'schema_version = 1\nkind = "accelerator"\nextends = "h100-sxm"\n'
        'name = "child"\ntitle = "child"\n'
    )
    child = Catalogue([tmp_path]).accelerator("child").calibration.gemm["bf16"]
    parent = CATALOGUE.accelerator("h100-sxm").calibration.gemm["bf16"]
    assert child.tensor_efficiency_fraction == parent.tensor_efficiency_fraction
    assert child.provenance.figure_class == "inherited"
    assert child.provenance.heldout_median_ape_fraction is None
    spread = parent.provenance.relative_spread_fraction
    assert child.provenance.relative_spread_fraction > spread


def test_what_a_server_inherits_is_what_its_kind_knows():
    """However often its own kernels are fitted, they are fitted from there."""
    catalogue = Catalogue()
    inherited = inherited_calibration(catalogue, "b200-sxm-simumax")
    assert inherited == completed_calibration(catalogue.accelerator("b200-sxm"))
    own = catalogue.accelerator("b200-sxm-simumax").calibration.gemm["bf16"]
    assert inherited.gemm["bf16"] != own
    alone = catalogue.accelerator("h100-sxm")
    assert inherited_calibration(catalogue, alone.name) == completed_calibration(alone)


def test_a_file_of_the_user_that_extends_the_shipped_one_by_its_name_leans_on_that(tmp_path):
    shipped = CATALOGUE.accelerator("h100-sxm")
    fit = rendered_calibration(Calibration(gemm={"bf16": shipped.calibration.gemm["fp8"]}))
    head = 'schema_version = 1\nkind = "accelerator"\nname = "h100-sxm"\nextends = "h100-sxm"'
    (tmp_path / "h100-sxm.toml").write_text(f"{head}\n{fit}")
    mine = Catalogue([tmp_path])
    assert mine.accelerator("h100-sxm").calibration.gemm["bf16"] != shipped.calibration.gemm["bf16"]
    assert inherited_calibration(mine, "h100-sxm") == completed_calibration(shipped)
