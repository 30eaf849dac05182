"""Shapes that benches take from the model catalogue, and what the host makes of them."""

from __future__ import annotations

import pytest

from benches.kernel_bench import CONTENDERS, contenders_of
from benches.shapes import (
    HOST_LIMITS,
    MODELS,
    Selection,
    attention_cases,
    collective_cases,
    gemm_cases,
    layer_shape,
    models,
    operation_cases,
    stream_cases,
)
from kernels.survey.shapes import layer_shapes

GPU = Selection(is_host=False, is_quick=False)
HOST = Selection(is_host=True, is_quick=False)
QUICK = Selection(is_host=True, is_quick=True)
FAMILIES = (gemm_cases, attention_cases, operation_cases)


def every_case(selection):
    cases = [case for make in FAMILIES for case in make(selection)]
    return [*cases, *stream_cases(selection), *collective_cases(selection, n_ranks=2)]


@pytest.mark.parametrize("selection", [GPU, HOST, QUICK, Selection(is_host=False, is_quick=True)])
def test_cases_are_distinct_and_every_one_has_contenders(selection):
    cases = every_case(selection)
    names = [f"{case.name}{case.details.get('layout', '')}" for case in cases]
    assert len(set(names)) == len(names)
    backend = "cpu" if selection.is_host else "cuda"
    kernels = [case for case in cases if case.family != "collectives"]
    assert all(contenders_of(case, backend) for case in kernels)
    assert {case.family for case in kernels} == {family for _, family in CONTENDERS}


def test_layers_are_those_of_the_catalogue_at_several_degrees():
    roles = {tuple(case.role.split("/")[:2]) for case in gemm_cases(GPU) if "/" in case.role}
    assert roles == {(name, f"tp{tp}") for name in MODELS for tp in (1, 2, 4, 8)}
    one = next(
        c for c in gemm_cases(GPU) if c.role == "llama-3-70b/tp8/up" and c.direction == "fwd"
    )
    model = models()[1]
    size = (8192, 2 * model.ffn_hidden // 8, model.hidden)
    assert tuple(one.shape[name] for name in "mnk") == size


def test_the_surveys_table_says_of_models_what_the_catalogue_says():
    for model in models():
        mine = layer_shape(model)
        other = next(shape for shape in layer_shapes() if shape.name == model.name)
        names = [name for name in other.__slots__ if name != "source"]
        assert {n: getattr(mine, n) for n in names} == {n: getattr(other, n) for n in names}


def test_the_host_takes_fewer_tokens_of_the_same_layers():
    for make in FAMILIES:
        for case in (case for case in make(HOST) if case.role != "sweep"):
            assert HOST_LIMITS[case.family].allows(case)
    whole = {(c.role, c.direction): c for c in gemm_cases(GPU)}
    for case in (case for case in gemm_cases(HOST) if case.role != "sweep"):
        full = whole.get((case.role, case.direction))
        if full is None:  # on a GPU it is the same as another layer's
            continue
        tokens, of_layer = {"fwd": "m", "dgrad": "m", "wgrad": "k"}[case.direction], "mnk"
        changed = [name for name in of_layer if case.shape[name] != full.shape[name]]
        assert changed == [tokens]
        assert full.shape[tokens] % case.shape[tokens] == 0


def test_a_quick_selection_is_small():
    assert len(every_case(QUICK)) < 60
    assert sum(case.flop for case in every_case(QUICK)) < 2e10


def test_gpt_3_attends_no_further_than_its_positions():
    lengths = {c.shape["seq_q"] for c in attention_cases(GPU) if c.role.startswith("gpt3")}
    assert lengths == {2048}


def test_collectives_have_equal_shards():
    for n_ranks in (2, 4, 8):
        for case in collective_cases(GPU, n_ranks=n_ranks):
            if case.role != "sweep":
                assert case.shape["message_bytes"] % (512 * n_ranks) == 0
