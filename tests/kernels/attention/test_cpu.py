"""The host's attention kernels against the float64 oracle, and truths about any attention."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.attention.cpu import attention_backward_numba, attention_numba, attention_unfused
from kernels.attention.mask import CAUSAL, FULL, Mask
from kernels.attention.operands import Result
from kernels.attention.reference import attention_backward_reference, attention_reference
from kernels.gemm.reference import relative_error_fraction

TOLERANCE = {"f4": 1e-5, "f8": 1e-13}
# Around the edges of tiles: 192 columns, blocks of 64 rows, and padding to four.
LENGTHS = st.integers(0, 9) | st.integers(62, 67) | st.integers(190, 195) | st.just(260)
MASKS = st.builds(Mask, is_causal=st.booleans(), window=st.none() | st.integers(1, 200))
SHAPES = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 2),
        "kv_heads": st.integers(1, 2),
        "query_len": LENGTHS,
        "key_len": LENGTHS,
        "head_dim": st.integers(1, 9) | st.sampled_from([16, 33]),
        "dtype": st.sampled_from(["f4", "f8"]),
        "seed": st.integers(0, 9),
    }
)


def poisoned(q):
    return Result(np.full(q.shape, np.nan, q.dtype), np.full(q.shape[:3], np.nan, q.dtype))


@settings(max_examples=60)
@given(shape=SHAPES, group=st.integers(1, 3), mask=MASKS, scale=st.none() | st.floats(0.1, 1.5))
def test_both_passes_agree_with_the_oracle_on_any_shape(random_heads, shape, group, mask, scale):
    q, k, v, gradient = random_heads(heads=group * shape["kv_heads"], **shape)
    tolerance = TOLERANCE[shape["dtype"]]
    result = attention_numba(q, k, v, mask=mask, scale=scale, out=poisoned(q))
    truth = attention_reference(q, k, v, mask=mask, scale=scale)
    assert relative_error_fraction(result.out, truth.out) < tolerance
    np.testing.assert_allclose(result.lse, truth.lse, rtol=tolerance, atol=tolerance)
    found = attention_backward_numba(q, k, v, result, gradient, mask=mask, scale=scale)
    expected = attention_backward_reference(q, k, v, gradient, mask=mask, scale=scale)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == q.dtype
        error = np.linalg.norm(one - other)
        # A gradient whose terms cancel has no digits of its own; the largest one sets the scale.
        assert error <= 10 * tolerance * max(np.linalg.norm(each) for each in expected)


@settings(max_examples=30)
@given(shape=SHAPES, mask=MASKS)
def test_the_unfused_form_agrees_with_the_oracle(random_heads, shape, mask):
    q, k, v, _ = random_heads(heads=shape["kv_heads"], **shape)
    found, truth = attention_unfused(q, k, v, mask=mask), attention_reference(q, k, v, mask=mask)
    assert relative_error_fraction(found, truth.out) < TOLERANCE[shape["dtype"]]


@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("mask", [FULL, CAUSAL, Mask(is_causal=True, window=300)], ids=str)
def test_errors_stay_small_at_a_thousand_tokens(random_heads, head_dim, mask):
    q, k, v, gradient = random_heads(
        heads=2, query_len=1000, key_len=1030, head_dim=head_dim, seed=3
    )
    result = attention_numba(q, k, v, mask=mask)
    truth = attention_reference(q, k, v, mask=mask)
    assert relative_error_fraction(result.out, truth.out) < 1e-5
    found = attention_backward_numba(q, k, v, result, gradient, mask=mask)
    expected = attention_backward_reference(q, k, v, gradient, mask=mask)
    for one, other in zip(found, expected, strict=True):
        assert relative_error_fraction(one, other) < 1e-5


@pytest.mark.parametrize("forward", [attention_numba, attention_unfused])
def test_scores_of_ten_thousand_are_as_exact_as_small_ones(forward):
    # Whole numbers keep the scores exact in float32, so that only the softmax can go wrong.
    random = np.random.default_rng(5)
    q, k = random.integers(-25, 26, (2, 1, 1, 150, 16)).astype("f4")
    q[..., 0, :], k[..., 0, :], k[..., 1, :] = 25, 25, -25
    v = random.standard_normal(q.shape).astype("f4")
    truth = attention_reference(q, k, v, scale=1.0).out
    found = forward(q, k, v, scale=1.0)
    out = found.out if isinstance(found, Result) else found
    assert np.abs(q @ k.swapaxes(2, 3)).max() == 10_000
    assert relative_error_fraction(out, truth) < 1e-5


@pytest.mark.parametrize("score", [0.0, 1e4, -1e4, 1e30])
def test_equal_scores_of_any_size_give_the_mean(score):
    q, k = np.full((1, 1, 3, 1), score, "f4"), np.ones((1, 1, 100, 1), "f4")
    v = np.random.default_rng(1).standard_normal(k.shape).astype("f4")
    result = attention_numba(q, k, v)
    np.testing.assert_allclose(result.out[0, 0, :, 0], v.mean(), rtol=1e-5)
    gradients = attention_backward_numba(q, k, v, result, np.ones_like(q))
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_query_that_sees_nothing_gives_zeros(random_heads):
    q, k, v, gradient = random_heads(query_len=200, key_len=50, head_dim=8)
    result = attention_numba(q, k, v, mask=CAUSAL, out=poisoned(q))
    assert (result.out[0, 0, :150] == 0).all()
    assert np.isneginf(result.lse[0, 0, :150]).all()
    assert np.isfinite(result.lse[0, 0, 150:]).all()
    dq = attention_backward_numba(q, k, v, result, gradient, mask=CAUSAL).dq
    assert (dq[0, 0, :150] == 0).all()


def test_a_number_that_is_none_stays_in_its_own_row(random_heads):
    q, k, v, _ = random_heads(query_len=130, key_len=70, head_dim=6)
    clean = attention_numba(q, k, v).out
    q[0, 0, 7, 2] = np.nan
    out = attention_numba(q, k, v).out
    assert np.isnan(out[0, 0, 7]).all()
    np.testing.assert_array_equal(np.delete(out, 7, axis=2), np.delete(clean, 7, axis=2))


@settings(max_examples=30)
@given(shape=SHAPES, mask=MASKS, value=st.floats(-100, 100, width=32))
def test_constant_values_come_out_as_they_are(random_heads, shape, mask, value):
    q, k, v, _ = random_heads(heads=shape["kv_heads"], **shape)
    v[:] = value
    result = attention_numba(q, k, v, mask=mask)
    sees_something = np.isfinite(result.lse)
    expected = np.where(sees_something, v.dtype.type(value), 0)[..., np.newaxis]
    np.testing.assert_allclose(result.out, np.broadcast_to(expected, q.shape), rtol=1e-5)


@settings(max_examples=30)
@given(shape=SHAPES, is_causal=st.booleans(), excess=st.integers(0, 5))
def test_a_window_of_the_length_hides_nothing(random_heads, shape, is_causal, excess):
    q, k, v, _ = random_heads(heads=shape["kv_heads"], **shape)
    window = max(shape["query_len"], shape["key_len"], 1) + excess
    wide = attention_numba(q, k, v, mask=Mask(is_causal=is_causal, window=window))
    without = attention_numba(q, k, v, mask=Mask(is_causal=is_causal))
    np.testing.assert_array_equal(wide.out, without.out)
    np.testing.assert_array_equal(wide.lse, without.lse)


@settings(max_examples=30)
@given(shape=SHAPES, data=st.data())
def test_later_keys_change_nothing_under_a_causal_mask(random_heads, shape, data):
    shape = shape | {"key_len": shape["query_len"]}
    q, k, v, _ = random_heads(heads=shape["kv_heads"], **shape)
    before = attention_numba(q, k, v, mask=CAUSAL)
    position = data.draw(st.integers(0, shape["query_len"]))
    k[:, :, position:] *= -3
    v[:, :, position:] += 1000
    after = attention_numba(q, k, v, mask=CAUSAL)
    np.testing.assert_array_equal(after.out[:, :, :position], before.out[:, :, :position])


@settings(max_examples=30)
@given(shape=SHAPES, group=st.integers(2, 3), mask=MASKS)
def test_grouped_heads_are_repeated_heads(random_heads, shape, group, mask):
    q, k, v, gradient = random_heads(heads=group * shape["kv_heads"], **shape)
    k_all, v_all = k.repeat(group, axis=1), v.repeat(group, axis=1)
    grouped, repeated = (
        attention_numba(q, k, v, mask=mask),
        attention_numba(q, k_all, v_all, mask=mask),
    )
    np.testing.assert_array_equal(grouped.out, repeated.out)
    found = attention_backward_numba(q, k, v, grouped, gradient, mask=mask)
    apart = attention_backward_numba(q, k_all, v_all, repeated, gradient, mask=mask)
    np.testing.assert_array_equal(found.dq, apart.dq)
    for one, other in ((found.dk, apart.dk), (found.dv, apart.dv)):
        summed = other.reshape(*k.shape[:2], group, *k.shape[2:]).sum(axis=2)
        np.testing.assert_allclose(one, summed, rtol=1e-4, atol=1e-4)


def test_transposed_operands_are_read_as_they_stand(random_heads):
    q, k, v, gradient = random_heads(heads=2, kv_heads=2, query_len=20, key_len=30, head_dim=8)
    strided = [np.asfortranarray(operand) for operand in (q, k, v, gradient)]
    result = attention_numba(q, k, v)
    np.testing.assert_array_equal(attention_numba(*strided[:3]).out, result.out)
    found = attention_backward_numba(*strided[:3], result, strided[3])
    np.testing.assert_array_equal(found.dq, attention_backward_numba(q, k, v, result, gradient).dq)


def peak_memory_bytes():
    """Peak of the resident memory since it was last reset, which this call does. [byte]."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak_kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return int(peak_kib) * 1024


def test_memory_grows_with_the_length_and_not_its_square(random_heads):
    # All scores of these 16 Ki tokens would take a GiB; the operands take 2 MiB each.
    q, k, v, gradient = random_heads(query_len=16_384, key_len=16_384, head_dim=32)
    mask = Mask(is_causal=True, window=128)
    attention_backward_numba(q, k, v, attention_numba(q, k, v, mask=mask), gradient, mask=mask)
    try:
        peak_memory_bytes()
        before = peak_memory_bytes()
    except (OSError, StopIteration):
        pytest.skip("this system does not tell a process its peak of memory")
    attention_backward_numba(q, k, v, attention_numba(q, k, v, mask=mask), gradient, mask=mask)
    assert peak_memory_bytes() - before < 64 * 2**20


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3), (2, 3), (2, 3)), r"expected \(batch, heads, sequence, head_dim\)"),
        (((1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 6, 4)), "the same shape for k and v"),
        (((1, 2, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)), "one batch and one head_dim"),
        (((1, 2, 5, 4), (1, 2, 5, 8), (1, 2, 5, 8)), "one batch and one head_dim"),
        (((1, 2, 5, 0), (1, 2, 5, 0), (1, 2, 5, 0)), "head_dim of at least 1"),
        (((1, 4, 5, 4), (1, 3, 5, 4), (1, 3, 5, 4)), r"kv heads \(3\) that divide heads \(4\)"),
    ],
)
@pytest.mark.parametrize("forward", [attention_numba, attention_unfused, attention_reference])
def test_shapes_that_do_not_fit_are_refused_in_one_line(forward, shapes, message):
    with pytest.raises(ValueError, match=message) as caught:
        forward(*(np.zeros(shape, "f4") for shape in shapes))
    assert "\n" not in str(caught.value)


def test_mixed_types_results_of_others_and_bad_scales_are_refused(random_heads):
    q, k, v, gradient = random_heads(query_len=3, key_len=4, head_dim=2)
    with pytest.raises(ValueError, match="float32 or float64, the same for all"):
        attention_numba(q, k.astype("f8"), v)
    with pytest.raises(ValueError, match="float32 or float64, the same for all"):
        attention_numba(q.astype("i4"), k.astype("i4"), v.astype("i4"))
    with pytest.raises(ValueError, match="scale=0: expected a positive number"):
        attention_numba(q, k, v, scale=0)
    result = attention_numba(q, k, v)
    with pytest.raises(ValueError, match=r"expected .* those of q"):
        attention_backward_numba(q, k, v, Result(result.out, result.lse[..., :2]), gradient)
    with pytest.raises(ValueError, match="that of q"):
        attention_backward_numba(q, k, v, result, gradient[..., :1])


def test_importing_the_module_does_not_import_numba():
    code = "import sys, kernels.attention.cpu; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
