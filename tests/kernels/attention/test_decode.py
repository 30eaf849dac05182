"""Truths about decoding one token against a cache."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.attention.decode import DecodeMachine, attention_decode_time
from kernels.attention.model import AttentionShape
from kernels.compiled_formula import FormulaCompiler

HOPPER = DecodeMachine(
    n_units=132.0,
    peak_flop_per_s=989e12,
    memory_bandwidth_bytes_per_s=3.35e12,
    cache_bytes=25e6,
    memory_efficiency_fraction=0.85,
    unit_bandwidth_ratio=1.5,
    part_tokens=256.0,
    matrix_efficiency_fraction=0.2,
    item_latency_s=1e-6,
    launch_s=8e-6,
)

SHAPES = st.builds(
    AttentionShape,
    batch=st.integers(1, 512).map(float),
    n_heads=st.sampled_from([8.0, 32.0, 64.0]),
    n_kv_heads=st.sampled_from([1.0, 4.0, 8.0]),
    query_len=st.just(1.0),
    key_len=st.integers(1, 100_000).map(float),
    head_dim=st.sampled_from([64.0, 128.0, 256.0]),
    visible_fraction=st.just(1.0),
    element_bytes=st.just(2.0),
)


@given(
    one=SHAPES,
    factor=st.integers(1, 6),
    axis=st.sampled_from(["batch", "n_heads", "n_kv_heads", "key_len", "head_dim"]),
)
def test_more_work_is_never_faster(one, factor, axis):
    larger = one._replace(**{axis: getattr(one, axis) * factor})
    assert attention_decode_time(larger, HOPPER).time_s >= attention_decode_time(
        one, HOPPER
    ).time_s * (1 - 1e-12)


@given(
    one=SHAPES,
    factor=st.floats(1.0, 8.0),
    what=st.sampled_from(["peak_flop_per_s", "memory_bandwidth_bytes_per_s", "cache_bytes"]),
)
def test_a_better_machine_is_never_slower(one, factor, what):
    better = HOPPER._replace(**{what: getattr(HOPPER, what) * factor})
    assert attention_decode_time(one, better).time_s <= attention_decode_time(
        one, HOPPER
    ).time_s * (1 + 1e-12)


def test_long_caches_are_read_at_the_memory_bandwidth():
    one = AttentionShape(256.0, 64.0, 8.0, 1.0, 32768.0, 128.0, 1.0, 2.0)
    cache_bytes = 2.0 * 256 * 8 * 32768 * 128 * 2
    expected_s = cache_bytes / (0.85 * 3.35e12)
    assert attention_decode_time(one, HOPPER).time_s == pytest.approx(expected_s, rel=0.1)


def test_an_empty_cache_takes_the_launch():
    one = AttentionShape(1.0, 8.0, 1.0, 1.0, 1.0, 128.0, 1.0, 2.0)
    time_s = attention_decode_time(one, HOPPER).time_s
    assert HOPPER.launch_s < time_s < 1.3 * HOPPER.launch_s


@given(one=SHAPES)
def test_the_compiled_twin_agrees_with_the_plain_formula(one):
    fast = COMPILED(one, HOPPER)
    assert fast.time_s == pytest.approx(attention_decode_time(one, HOPPER).time_s, rel=1e-12)


COMPILED = FormulaCompiler().compile(attention_decode_time)
