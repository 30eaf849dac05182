"""The tables of timings are predicted row by row with the scalar formulas."""

import math

import msgspec
import numpy as np
import pytest

from hardware_profiles.calibration import (
    AttentionCalibration,
    AttentionDecode,
    Calibration,
    Provenance,
    Residual,
)
from hardware_profiles.catalogue import Catalogue
from kernels.attention.decode import attention_decode_time
from kernels.attention.machine import attention_machine, decode_machine
from kernels.attention.model import (
    AttentionShape,
    attention_backward_time,
    attention_forward_time,
)
from kernels.libraries import implementation
from kernels.measurement_tables import Table
from kernels.prediction.attention import AttentionTimes, attention_names
from kernels.residual import residual_grid, residual_log

PROVENANCE = Provenance(figure_class="assumed", source="test", relative_spread_fraction=0.1)

RESIDUAL = Residual(
    starts_log2=(0.0, 0.0, 6.0),
    steps_log2=(4.0, 4.0, 1.0),
    counts=(4, 5, 3),
    values_permille=" ".join(str(value) for value in range(-120, 120, 4)),
)

FLASH = AttentionCalibration(
    matrix_efficiency_fraction=0.7,
    memory_efficiency_fraction=0.8,
    exponentials_per_clock_per_unit=16.0,
    block_latency_s=0.2e-6,
    diagonal_blocks=1.0,
    launch_s=10e-6,
    traffic_factor=1.0,
    join_exponent=1.8,
    backward_matrix_efficiency_fraction=0.5,
    query_block=128.0,
    group_packing_fraction=0.5,
    side_key_ratio=2.0,
    residual=RESIDUAL,
    decode=AttentionDecode(
        memory_efficiency_fraction=0.8,
        unit_bandwidth_ratio=1.5,
        part_tokens=256.0,
        matrix_efficiency_fraction=0.2,
        item_latency_s=1e-6,
        launch_s=8e-6,
        provenance=PROVENANCE,
    ),
    provenance=PROVENANCE,
    backward_provenance=PROVENANCE,
)

SLOW = msgspec.structs.replace(FLASH, matrix_efficiency_fraction=0.2, residual=None)

CALIBRATION = Calibration(attention={"cudnn": FLASH, "trtllm": SLOW})

DEVICE = Catalogue().accelerator("h100-sxm")


def table(**changes):
    rng = np.random.default_rng(5)
    n = 40
    heads = 2.0 ** rng.integers(2, 7, n)
    length = np.floor(2.0 ** rng.uniform(1, 14, n))
    directions = ["fwd", "bwd", "fwd_bwd", "fwd_decode"]
    columns = {
        "dtype": np.full(n, "bf16", dtype=object),
        "batch": 2.0 ** rng.integers(0, 5, n),
        "heads_q": heads,
        "heads_kv": np.maximum(heads / 4.0, 1.0),
        "seq_q": length,
        "seq_kv": length,
        "head_dim": rng.choice([64.0, 80.0, 128.0, 256.0], n),
        "causal": rng.random(n) < 0.5,
        "direction": np.array([directions[i % 4] for i in range(n)], dtype=object),
        "library": np.array(
            [("torch-2.11:sdpa-cudnn", "trtllm-1.3:torch_flow")[i // 4 % 2] for i in range(n)],
            dtype=object,
        ),
    }
    return Table(columns=columns | changes)


@pytest.fixture(scope="module")
def times():
    return AttentionTimes()


def scalar_s(rows, i):
    full_trtllm = rows["library"][i].startswith("trtllm") and not rows["causal"][i]
    is_slow = rows["library"][i].startswith("trtllm") and not full_trtllm
    fitted = SLOW if is_slow else FLASH
    sizes = [float(rows[name][i]) for name in ("batch", "heads_q", "heads_kv", "seq_q", "seq_kv")]
    shape = AttentionShape(
        *sizes, float(rows["head_dim"][i]), 0.5 if rows["causal"][i] else 1.0, 2.0
    )
    if rows["direction"][i] == "fwd_decode":
        decoder = decode_machine(DEVICE, fitted.decode, peak_flop_per_s=989e12)
        return attention_decode_time(shape, decoder).time_s
    machine = attention_machine(DEVICE, fitted, peak_flop_per_s=989e12)
    log = residual_log(
        shape.batch * shape.n_heads,
        shape.query_len,
        shape.head_dim,
        residual_grid(fitted.residual),
    )
    forward_s = attention_forward_time(shape, machine).time_s * math.exp(log)
    backward_s = attention_backward_time(shape, machine).time_s
    return {"fwd": forward_s, "bwd": backward_s, "fwd_bwd": forward_s + backward_s}[
        rows["direction"][i]
    ]


def test_every_row_equals_the_scalar_formula(times):
    rows = table()
    found = times.times_s(rows, DEVICE, CALIBRATION)
    expected = [scalar_s(rows, i) for i in range(len(rows))]
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_library_without_an_entry_is_predicted_with_the_stand_in(times):
    rows = table(library=np.full(40, "somebody's kernel", dtype=object))
    known = table(library=np.full(40, "torch-2.11:sdpa-cudnn", dtype=object))
    found = times.times_s(rows, DEVICE, CALIBRATION)
    assert found == pytest.approx(times.times_s(known, DEVICE, CALIBRATION))


def test_a_device_without_any_entry_is_predicted_with_the_prior(times):
    rows = table(direction=np.full(40, "fwd", dtype=object))
    assert np.isfinite(times.times_s(rows, DEVICE, Calibration())).all()


def test_what_cannot_be_predicted_is_not_a_number(times):
    unknown = table(dtype=np.full(40, "int3", dtype=object))
    unfused = table(library=np.full(40, "torch-2.11:sdpa-math", dtype=object))
    assert np.isnan(times.times_s(unknown, DEVICE, CALIBRATION)).all()
    assert np.isnan(times.times_s(unfused, DEVICE, CALIBRATION)).all()


def test_a_library_may_run_another_path_without_a_mask():
    rows = table(library=np.full(40, "trtllm-1.3.0rc20:torch_flow", dtype=object))
    names = attention_names(rows)
    assert set(names[rows["causal"]]) == {"trtllm"}
    assert set(names[~rows["causal"]]) == {"trtllm-full"}


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("trtllm-9.9:torch_flow_flashinfer", "trtllm-flashinfer"),
        ("vllm-0.24.0:vllm_flash_attn_fa3", "vllm-fa3"),
        ("vllm-0.14.0:vllm_flash_attn", "vllm-fa2"),
        ("sglang-0.5.14:flash_attention_v4", "sglang-vit-fa4"),
        ("torch-2.11.0+cu130:sdpa-flash", "flash-2"),
        ("flash-attn-2-rocm(ck)", "ck"),
        ("nobody", None),
    ],
)
def test_the_longest_beginning_names_the_implementation(library, name):
    assert implementation("attention", library) == name
