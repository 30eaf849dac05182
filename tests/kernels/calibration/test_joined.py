"""A fit of few rows joined with a profile that knows more."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hardware_profiles.calibration import Calibration
from hardware_profiles.catalogue import Catalogue
from kernels.calibration.attention_backward import pass_ratio
from kernels.calibration.joined import joined_calibration
from kernels.compiled_formula import PlainFormulas
from kernels.measurement_tables import Table
from kernels.prediction.gemm import GemmTimes

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def h200():
    return Catalogue().accelerator("h200-sxm")


def as_class(thing, figure_class, field="provenance"):
    return replace(thing, **{field: replace(getattr(thing, field), figure_class=figure_class)})


TIMES = GemmTimes(PlainFormulas())


def product_times_s(device, gemm, library):
    rng = np.random.default_rng(2)
    sizes = np.floor(2.0 ** rng.uniform(4.0, 14.0, size=(20, 3)))
    columns = {name: sizes[:, number] for number, name in enumerate("mnk")}
    columns |= {"batch": np.ones(20), "dtype": np.full(20, "bf16", dtype=object)}
    columns["library"] = np.full(20, library, dtype=object)
    return TIMES.times_s(Table(columns=columns), device, Calibration(gemm={"bf16": gemm}))


def faster_products(known):
    """What a table of a library that the profile does not know makes of a device."""
    only = replace(known.implementations["vllm"], overhead_s=0.0, residual=None)
    return replace(
        known,
        tensor_efficiency_fraction=0.8 * known.tensor_efficiency_fraction,
        memory_efficiency_fraction=0.9 * known.memory_efficiency_fraction,
        fill_depth=2.0 * known.fill_depth,
        launch_s=known.launch_s + 0.3e-6,
        residual=None,
        implementations={"vendor": only},
    )


def test_libraries_without_rows_keep_the_times_that_they_took(h200):
    known = h200.calibration.gemm["bf16"]
    new = faster_products(known)
    own, fit = Calibration(gemm={"bf16": known}), Calibration(gemm={"bf16": new})
    joined = joined_calibration(h200, own, fit).gemm["bf16"]
    assert set(joined.implementations) == {*known.implementations, "vendor"}
    assert joined.implementations["vendor"] == new.implementations["vendor"]
    for library in ("trtllm-1", "vllm-1", "sglang-1"):
        before = product_times_s(h200, known, library)
        # A library without an overhead cannot start before the device's own kernel does.
        assert product_times_s(h200, joined, library) == pytest.approx(before, abs=0.35e-6)
    alone = product_times_s(h200, joined, "")
    assert alone == pytest.approx(product_times_s(h200, new, ""))


def test_a_new_correction_of_the_device_leaves_other_libraries_alone(h200):
    known = h200.calibration.gemm["bf16"]
    bare = replace(known, residual=None, implementations={})
    own = replace(bare, implementations={"vllm": known.implementations["vllm"]})
    own.implementations["vllm"] = replace(own.implementations["vllm"], residual=None)
    fit = replace(bare, residual=known.residual)
    joined = joined_calibration(
        h200, Calibration(gemm={"bf16": own}), Calibration(gemm={"bf16": fit})
    ).gemm["bf16"]
    before = product_times_s(h200, own, "vllm-1")
    assert product_times_s(h200, joined, "vllm-1") == pytest.approx(before)
    assert not np.allclose(product_times_s(h200, joined, ""), product_times_s(h200, own, ""))


def test_libraries_of_another_formula_are_not_kept(h200):
    """A processor's kernels pack their operands; a fit of products in waves knows nothing of it."""
    known = h200.calibration.gemm["bf16"]
    own = Calibration(gemm={"bf16": replace(known, pack_a_s=1e-9, pack_b_s=1e-9)})
    fit = Calibration(gemm={"bf16": replace(known, implementations={})})
    assert not joined_calibration(h200, own, fit).gemm["bf16"].implementations


def test_what_is_derived_from_a_relative_replaces_nothing_measured(h200):
    own = h200.calibration
    derived = as_class(replace(own.attention["flash-3"], launch_s=1.0), "inherited")
    ring = as_class(replace(own.collective["all_reduce"], latency_s=1.0), "inherited")
    fit = Calibration(
        attention={"flash-3": derived, "other": derived}, collective={"all_reduce": ring}
    )
    joined = joined_calibration(h200, own, fit)
    assert joined.attention == own.attention | {"other": derived}
    assert joined.collective == own.collective


def test_libraries_of_collectives_that_a_fit_only_guesses_stay_as_measured(h200):
    known = h200.calibration.collective["all_reduce"]
    measured = known.implementations["trtllm"]
    assert measured.provenance.figure_class == "fitted"
    guess = as_class(replace(measured, kernel_efficiency_fraction=0.2), "inherited")
    fitted = replace(known.implementations["sglang-graph"], kernel_efficiency_fraction=0.3)
    new = replace(known, latency_s=1e-5, implementations={"trtllm": guess, "sglang-graph": fitted})
    joined = joined_calibration(
        h200,
        Calibration(collective={"all_reduce": known}),
        Calibration(collective={"all_reduce": new}),
    ).collective["all_reduce"]
    assert joined.latency_s == 1e-5
    assert joined.implementations == known.implementations | {"sglang-graph": fitted}


def test_forward_rows_keep_the_backward_pass_and_decoding_that_were_known(h200):
    own = h200.calibration
    known = as_class(own.attention["cudnn"], "fitted", "backward_provenance")
    known = replace(known, decode=own.attention["trtllm"].decode)
    faster = replace(known, matrix_efficiency_fraction=1.2 * known.matrix_efficiency_fraction)
    faster = replace(faster, decode=None, backward_matrix_efficiency_fraction=0.1)
    faster = as_class(faster, "assumed", "backward_provenance")
    own, fit = Calibration(attention={"k": known}), Calibration(attention={"k": faster})
    joined = joined_calibration(h200, own, fit).attention["k"]
    assert joined.matrix_efficiency_fraction == faster.matrix_efficiency_fraction
    assert joined.decode == known.decode
    assert pass_ratio(h200, joined) == pytest.approx(pass_ratio(h200, known), rel=1e-3)
    assert joined.backward_provenance.figure_class == "inherited"
    assert joined.backward_provenance.n_samples is None
    before, after = known.backward_provenance, joined.backward_provenance
    assert after.relative_spread_fraction > before.relative_spread_fraction


def test_operations_without_rows_take_the_time_that_they_took(h200):
    own = h200.calibration.memory_bound
    one, *others = own.operations
    slower = replace(
        own,
        bandwidth_efficiency_fraction=0.5 * own.bandwidth_efficiency_fraction,
        operations={one: own.operations[one]},
    )
    joined = memory_bound(h200, own, slower)
    assert joined.operations[one] == own.operations[one]
    for name in others:
        before, after = own.operations[name], joined.operations[name]
        assert after.traffic_ratio == pytest.approx(0.5 * before.traffic_ratio)


def test_bandwidths_alone_leave_the_operations(h200):
    own = replace(h200.calibration.memory_bound, bandwidth={})
    seen = Catalogue().accelerator("mi210").calibration.memory_bound.bandwidth
    fit = replace(own, operations={}, bandwidth=seen, bandwidth_efficiency_fraction=0.1)
    assert seen
    assert memory_bound(h200, own, fit) == replace(own, bandwidth=seen)


def memory_bound(device, own, fit):
    joined = joined_calibration(
        device, Calibration(memory_bound=own), Calibration(memory_bound=fit)
    )
    return joined.memory_bound
