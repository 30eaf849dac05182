"""Truths about single memory-bound operations and about bandwidth against occupancy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.memory_bound.occupancy import OccupancyMachine, occupied_bandwidth_bytes_per_s
from kernels.memory_bound.operation import Matrix, OperationMachine, operation_time_s

SOFTMAX = OperationMachine(
    memory_bandwidth_bytes_per_s=2e12,
    bandwidth_efficiency_fraction=0.87,
    cached_bandwidth_ratio=1.0,
    cache_bytes=0.0,
    n_units=108.0,
    launch_s=10e-6,
    traffic_ratio=1.0,
    row_s=0.4e-6,
    unaligned_row_s=0.6e-6,
    short_row_columns=1024.0,
    long_row_bytes=48e3,
    long_row_traffic_ratio=2.0,
    long_row_sharpness=6.0,
    element_s=0.0,
    overlap_exponent=6.0,
    fill_rows=0.0,
)

SIZES = st.floats(1.0, 1e5)


def matrix(n_rows, n_columns, is_aligned=1.0):
    return Matrix(float(n_rows), float(n_columns), 4.0, 2.0, is_aligned)


@given(rows=SIZES, columns=SIZES, factor=st.floats(1.0, 10.0))
def test_more_rows_or_longer_ones_are_never_faster(rows, columns, factor):
    base_s = operation_time_s(matrix(rows, columns), SOFTMAX)
    assert operation_time_s(matrix(rows * factor, columns), SOFTMAX) >= base_s
    assert operation_time_s(matrix(rows, columns * factor), SOFTMAX) >= base_s * (1 - 1e-12)


def test_rows_of_one_warp_cost_their_traffic_only():
    n_bytes = 1e5 * 1024 * 4 * 2
    expected_s = 10e-6 + n_bytes / (0.87 * 2e12)
    assert operation_time_s(matrix(1e5, 1024), SOFTMAX) == pytest.approx(expected_s, rel=1e-6)


def test_a_row_that_outgrows_the_chip_is_read_again():
    plain = SOFTMAX._replace(row_s=0.0)
    per_byte = [
        (operation_time_s(matrix(1e6, columns), plain) - 10e-6) / columns
        for columns in (8192, 131072)
    ]
    assert per_byte[1] / per_byte[0] == pytest.approx(2.0, rel=0.1)


def test_a_library_that_looks_at_the_length_of_a_row_switches_at_once():
    hard = SOFTMAX._replace(row_s=0.0, launch_s=0.0, long_row_sharpness=1000.0)
    per_byte = [
        operation_time_s(matrix(1e6, columns), hard) / columns for columns in (11999, 12000)
    ]
    assert per_byte[1] / per_byte[0] == pytest.approx(2.0, rel=1e-6)


@given(columns=SIZES, element_s=st.floats(1e-12, 1e-8))
def test_arithmetic_hides_behind_traffic_as_far_as_it_can(columns, element_s):
    streaming = SOFTMAX._replace(launch_s=0.0, row_s=0.0)
    computing = streaming._replace(element_s=element_s)
    sizes = matrix(1e4, columns)
    traffic_s = operation_time_s(sizes, streaming)
    fast = computing._replace(memory_bandwidth_bytes_per_s=1e18)
    arithmetic_s = operation_time_s(sizes, fast)
    both_s = operation_time_s(sizes, computing)
    longer_s = max(traffic_s, arithmetic_s)
    assert longer_s * (1 - 1e-9) <= both_s <= 2.0 ** (1 / 6) * longer_s * (1 + 1e-9)


HELD = SOFTMAX._replace(
    row_s=0.0,
    unaligned_row_s=0.0,
    short_row_columns=2048.0,
    overlap_exponent=6.0,
    held_row_columns=9216.0,
    held_row_s=2.5e-6,
    held_register_s=0.2e-6,
    plain_row_bytes=48e3,
    plain_round_s=2e-6,
    plain_rest_s=0.7e-6,
)


@given(rows=SIZES, columns=SIZES, factor=st.floats(1.0, 10.0))
def test_rows_by_their_latency_are_never_faster_when_there_are_more(rows, columns, factor):
    base_s = operation_time_s(matrix(rows, columns), HELD)
    assert operation_time_s(matrix(rows * factor, columns), HELD) >= base_s


@pytest.mark.parametrize("columns", [1024, 4096, 9216])
def test_a_row_in_registers_takes_its_latency_in_any_type_and_on_any_memory(columns):
    wide = operation_time_s(
        Matrix(1e5, float(columns), 4.0, 2.0, 1.0), HELD._replace(memory_bandwidth_bytes_per_s=1e18)
    )
    narrow = operation_time_s(
        Matrix(1e5, float(columns), 2.0, 2.0, 1.0), HELD._replace(memory_bandwidth_bytes_per_s=1e17)
    )
    assert wide == pytest.approx(narrow, rel=1e-6)
    assert wide > operation_time_s(
        matrix(1e5, columns), HELD._replace(held_row_s=0.0, memory_bandwidth_bytes_per_s=1e18)
    )


def test_memory_decides_where_it_is_slower_than_the_latency():
    slow = HELD._replace(memory_bandwidth_bytes_per_s=1e10)
    plain = slow._replace(held_row_s=0.0)
    sizes = matrix(1e5, 4096)
    assert operation_time_s(sizes, slow) == pytest.approx(operation_time_s(sizes, plain), rel=1e-3)


def test_a_unit_has_one_block_less_where_rows_outgrow_its_registers():
    free = HELD._replace(launch_s=0.0, memory_bandwidth_bytes_per_s=1e18)
    at, beyond = (operation_time_s(matrix(1e5, columns), free) for columns in (4096, 4097))
    assert beyond / at == pytest.approx(2.0 * (2.5 + 5 * 0.2) / (2.5 + 4 * 0.2), rel=1e-6)


def test_what_no_vectors_fill_is_gone_through_element_by_element():
    free = HELD._replace(launch_s=0.0, memory_bandwidth_bytes_per_s=1e18)
    even, rest = (operation_time_s(matrix(1e5, columns), free) for columns in (16384, 20000))
    n_rest = 4  # 3616 columns by 1024 threads
    assert rest / even == pytest.approx((2.5 + 4 * 2.0 + n_rest * 0.7) / (2.5 + 4 * 2.0), rel=1e-6)


def test_rows_of_one_block_gain_nothing_from_more_units():
    serial = SOFTMAX._replace(
        launch_s=0.0, row_s=0.0, serial_row_s=1e-9, memory_bandwidth_bytes_per_s=1e18
    )
    times_s = [
        operation_time_s(matrix(1e4, 512), serial._replace(n_units=n)) for n in (10.0, 1000.0)
    ]
    assert times_s[0] == pytest.approx(1e-5, rel=1e-3)
    assert times_s[1] == pytest.approx(times_s[0], rel=1e-6)


def test_a_small_call_takes_what_one_block_takes_for_its_part():
    parts = SOFTMAX._replace(launch_s=0.0, row_s=0.0, block_s=4e-5)
    plain = parts._replace(block_s=0.0)
    assert operation_time_s(matrix(128, 512), parts) == pytest.approx(4e-5, rel=1e-3)
    assert operation_time_s(matrix(1, 512), parts) == pytest.approx(4e-5 / 128, rel=0.01)
    large = matrix(1e5, 4096)
    assert operation_time_s(large, parts) == pytest.approx(operation_time_s(large, plain), rel=1e-6)


def test_wider_elements_take_longer_where_a_unit_waits_for_its_bytes():
    waiting = SOFTMAX._replace(
        launch_s=0.0, row_s=0.0, element_s=1e-12, byte_s=1e-10, memory_bandwidth_bytes_per_s=1e18
    )
    narrow, wide = (
        operation_time_s(Matrix(1e5, 4096.0, width, 2.0, 1.0), waiting) for width in (2.0, 4.0)
    )
    assert wide / narrow == pytest.approx(2.0, rel=0.01)


def test_an_operation_bound_by_arithmetic_gains_little_from_more_bandwidth():
    computing = SOFTMAX._replace(launch_s=0.0, row_s=0.0, element_s=1e-9)
    faster = computing._replace(memory_bandwidth_bytes_per_s=4e12)
    sizes = matrix(1e5, 2000)
    gain = operation_time_s(sizes, computing) / operation_time_s(sizes, faster)
    assert 1.0 <= gain < 1.05


def test_the_device_fills_and_drains_once_however_many_rows():
    filling = SOFTMAX._replace(row_s=0.0, launch_s=0.0, fill_rows=2.0)
    few, many = 10.0 * SOFTMAX.n_units, 1000.0 * SOFTMAX.n_units
    extra_s = [
        operation_time_s(matrix(rows, 2048), filling)
        - operation_time_s(matrix(rows, 2048), filling._replace(fill_rows=0.0))
        for rows in (few, many)
    ]
    row_s = operation_time_s(matrix(many, 2048), filling._replace(fill_rows=0.0)) / many
    assert extra_s == pytest.approx([2.0 * SOFTMAX.n_units * row_s] * 2, rel=1e-9)


def test_what_does_not_overlap_adds_up():
    apart = SOFTMAX._replace(launch_s=0.0, row_s=0.0, element_s=1e-10, overlap_exponent=1.0)
    sizes = matrix(1e4, 2000)
    alone = apart._replace(element_s=0.0), apart._replace(memory_bandwidth_bytes_per_s=1e18)
    parts_s = [operation_time_s(sizes, one) for one in alone]
    assert operation_time_s(sizes, apart) == pytest.approx(sum(parts_s), rel=1e-5)


def test_rows_off_the_alignment_cost_more():
    aligned_s = operation_time_s(matrix(1e5, 2000, 1.0), SOFTMAX)
    assert operation_time_s(matrix(1e5, 2000, 0.0), SOFTMAX) > aligned_s


def test_data_in_the_cache_is_faster_than_memory():
    cached = SOFTMAX._replace(cache_bytes=40e6, cached_bandwidth_ratio=2.0)
    assert operation_time_s(matrix(1e3, 512), cached) < operation_time_s(matrix(1e3, 512), SOFTMAX)
    big = matrix(1e7, 512)
    assert operation_time_s(big, cached) == pytest.approx(operation_time_s(big, SOFTMAX))


KERNEL = OccupancyMachine(2e12, 0.9, 0.4, 3.0)


@given(occupancy=st.floats(0.01, 0.99), step=st.floats(1.0, 1.5))
def test_bandwidth_grows_with_occupancy_up_to_its_ceiling(occupancy, step):
    low = occupied_bandwidth_bytes_per_s(occupancy, KERNEL)
    high = occupied_bandwidth_bytes_per_s(min(1.0, occupancy * step), KERNEL)
    assert low * (1 - 1e-12) <= high <= 0.9 * 2e12


def test_few_threads_follow_littles_law():
    one = occupied_bandwidth_bytes_per_s(0.01, KERNEL)
    assert one == pytest.approx(0.9 * 2e12 * 0.01 / 0.4, rel=1e-3)
