"""A fit of few rows joined with a profile that knows more."""

from __future__ import annotations

import msgspec
import pytest

from hardware_profiles.calibration import Calibration
from hardware_profiles.catalogue import Catalogue
from kernels.calibration.attention_backward import pass_ratio
from kernels.calibration.joined import joined_calibration

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def h200():
    return Catalogue().accelerator("h200-sxm")


def as_class(thing, figure_class, field="provenance"):
    return replace(thing, **{field: replace(getattr(thing, field), figure_class=figure_class)})


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
