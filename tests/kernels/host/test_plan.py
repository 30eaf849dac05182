"""Which sizes of the host are measured: by rule, affordable, and never both fitted and judged."""

import itertools

import pytest

from kernels.host.case import ATTENTION, GEMM, OPERATIONS, HostCase
from kernels.host.design import telling
from kernels.host.plan import host_plan


@pytest.fixture(scope="module", params=[True, False], ids=["quick", "whole"])
def cases(request):
    return host_plan(is_quick=request.param).cases


def groups(cases):
    key = lambda case: (case.family, case.part)  # noqa: E731
    return {k: list(own) for k, own in itertools.groupby(sorted(cases, key=key), key=key)}


def test_what_is_set_aside_is_never_fitted(cases):
    for own in groups(cases).values():
        fitted = {case.sizes for case in own if not case.is_heldout}
        heldout = {case.sizes for case in own if case.is_heldout}
        assert heldout
        assert not fitted & heldout
        assert len({case.key for case in own}) == len(own)


def test_products_and_attention_are_judged_on_eight_sizes_and_more(cases):
    for (family, _part), own in groups(cases).items():
        if family != OPERATIONS:
            assert sum(case.is_heldout for case in own) >= 8


def test_products_are_fitted_and_judged_in_all_layouts_of_a_step(cases):
    for (family, _part), own in groups(cases).items():
        if family == GEMM:
            assert {case.layout for case in own if not case.is_heldout} == {"NN", "TN", "NT"}
            assert [case.layout for case in own if case.is_heldout].count("TN") >= 4


def test_the_rule_says_the_same_every_time(cases):
    again = host_plan(is_quick=len(cases) < 250).cases
    assert again == cases


def test_sizes_chosen_for_what_they_tell_span_the_limits():
    """Launch, fill, packing and rate each need a size where they weigh."""
    sizes = itertools.product((32, 256, 1024), (64, 512), (64, 1024))
    grid = [HostCase(family=GEMM, part="blas", sizes=one) for one in sizes]
    chosen = telling(grid, 6)
    assert len({case.sizes for case in chosen}) == 6
    flop = [case.flop for case in chosen]
    assert max(flop) > 30 * min(flop)


def test_a_causal_mask_halves_the_work():
    full, causal = (
        HostCase(family=ATTENTION, part="bwd", sizes=(1, 2, 1, 256, 64, flag)) for flag in (0, 1)
    )
    assert full.flop == 2.0 * causal.flop == 2.0 * 5.0 * 2 * 256 * 256 * 64
