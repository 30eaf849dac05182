"""Operator tables of SimuMax: the rates at which one server ran the operators of its models.

Format: github.com/MooreThreads/SimuMax, ``configs/system/*.json``, written by its
``simu_tools/efficency_test``. Below ``accelerator.op`` an operator has a peak (``tflops``, 1e12
flop/s) and, in ``accurate_efficient_factor``, the share of it by shape, the shape a text such as
``b=1, m=4096, k=8192, n=10240, layout=TN, accumulate=False, out_dtype=bf16``. Products are timed
back to back, attention (causal, ``sdp_fwd`` and ``sdp_bwd``) by kernel in a profile; the work that
the share of attention counts is that of all pairs of tokens, the masked ones too, and two and a
half times it backward. The file does not name its device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernels.importers.cells import Place, count, positive
from kernels.importers.dtypes import tidy_dtype
from kernels.importers.json_text import json_document
from kernels.importers.request import Aside, ImportRequest, Rows
from kernels.importers.tidy_rows import AttentionRow, GemmRow, TidyRow
from kernels.measurement_tables import MeasurementError

__all__ = ["SOURCE", "import_simumax", "is_simumax"]

SOURCE = "SIMUMAX"
SHARES = "accurate_efficient_factor"

PRODUCTS = {"matmul": "bf16", "fp8_matmul": "fp8"}
"""Operators that are products, and the dtype of their operands."""

DIRECTIONS = {"sdp_fwd": "fwd", "sdp_bwd": "bwd"}
ATTENTION_DTYPE = "bf16"
PRODUCT_LIBRARY = "cublaslt:transformer-engine"
ATTENTION_LIBRARY = "transformer-engine:attention"

FLOP_PER_MULTIPLY_ADD = 2.0
BACKWARD_RATIO = 2.5
"""Five products against two. [1]"""

FLOP_PER_US_PER_TFLOPS = 1e6
LARGEST_SHARE = 2.0
"""Causal attention at its peak, since masked pairs count; above it, a percentage. [1]"""

LAYOUTS = ("NN", "TN", "NT")
TRUTHS = ("True", "False")

Shape = dict[str, str]


def is_simumax(text: str) -> bool:
    """Whether a text begins as such a file does."""
    return text.lstrip().startswith("{") and '"sys_name"' in text and '"accelerator"' in text


def import_simumax(path: Path, request: ImportRequest) -> Rows:
    """Products that do not add to their result, and causal attention of one head width.

    Raises
    ------
    MeasurementError
        No JSON, no operators, or a shape or share that is wrong; its key is named.
    """
    operators = _operators(path)
    device = request.devices().profile(None, Place(path, "accelerator"))
    aside, found = Aside(path), Rows()
    for name in (*PRODUCTS, *DIRECTIONS):
        for shape, rate, place in _rates(path, name, operators.get(name, {})):
            row: TidyRow
            if name in PRODUCTS:
                if _word(shape, "accumulate", TRUTHS, place) == "True":
                    aside.count("products that add to their result, which takes more traffic")
                    continue
                row = _product(shape, rate, place, device=device, dtype=PRODUCTS[name])
                found.setdefault("gemm", []).append(row)
            else:
                if shape.get("qk_head_dim") != shape.get("v_head_dim"):
                    aside.count("rows of attention whose values are narrower than its keys")
                    continue
                row = _attention(shape, rate, place, device=device, direction=DIRECTIONS[name])
                found.setdefault("attention", []).append(row)
    for name in operators.keys() - PRODUCTS.keys() - DIRECTIONS.keys():
        for _ in operators[name].get(SHARES, {}):
            aside.count(f"rows of {name}")
    aside.report()
    if not found:
        message = f"{path}: accelerator.op: states no shape of a product or of attention"
        raise MeasurementError(message)
    return found


def _operators(path: Path) -> dict[str, dict[str, Any]]:
    document = json_document(path)
    accelerator = document.get("accelerator") if isinstance(document, dict) else None
    operators = accelerator.get("op") if isinstance(accelerator, dict) else None
    if not isinstance(operators, dict):
        message = f"{path}: key 'accelerator.op' is missing; expected an object of operators"
        raise MeasurementError(message)
    for name, operator in operators.items():
        shares = operator.get(SHARES, {}) if isinstance(operator, dict) else None
        if not isinstance(shares, dict):
            message = f"{path}: accelerator.op.{name}: expected an object of shares by shape"
            raise MeasurementError(message)
    return operators


def _rates(path: Path, name: str, operator: dict[str, Any]) -> Iterator[tuple[Shape, float, Place]]:
    """Every shape of an operator, its rate in 1e12 flop/s, and where it stands."""
    shares = operator.get(SHARES, {})
    if not shares:
        return
    peak = positive(operator.get("tflops"), "tflops", Place(path, f"accelerator.op.{name}"))
    for text, share in shares.items():
        place = Place(path, f"accelerator.op.{name}.{SHARES}[{text!r}]")
        cells = [cell.partition("=") for cell in text.split(",")]
        shape = {key.strip(): value.strip() for key, _, value in cells}
        fraction = positive(share, "share", place)
        if fraction > LARGEST_SHARE:
            complaint = (
                f"share = {fraction:g}; expected a share of the peak, at most {LARGEST_SHARE:g}"
            )
            raise place.error(complaint)
        yield shape, peak * fraction, place


def _latency_us(flop: float, rate: float, place: Place) -> float:
    """Time of so much work at a rate in 1e12 flop/s. [us]"""
    if rate > 0.0 and 0.0 < (latency := flop / (rate * FLOP_PER_US_PER_TFLOPS)) < math.inf:
        return latency
    complaint = f"a rate of {rate:g} TFLOP/s gives no time; expected finite ones above 0"
    raise place.error(complaint)


def _word(shape: Shape, name: str, expected: tuple[str, ...], place: Place) -> str:
    if shape.get(name) in expected:
        return shape[name]
    found = f"{name} = {shape[name]!r}" if name in shape else f"says no {name}"
    complaint = f"{found}; expected {', '.join(expected[:-1])} or {expected[-1]}"
    raise place.error(complaint)


def _size(shape: Shape, name: str, place: Place) -> int:
    if name not in shape:
        complaint = f"says no {name}"
        raise place.error(complaint)
    return count(shape[name], name, place)


def _product(shape: Shape, rate: float, place: Place, *, device: str, dtype: str) -> GemmRow:
    batch, m, n, k = (_size(shape, name, place) for name in ("b", "m", "n", "k"))
    tidy_dtype(shape.get("out_dtype", ""), "out_dtype", place)
    flop = FLOP_PER_MULTIPLY_ADD * batch * m * n * k
    return GemmRow(
        device=device,
        dtype=dtype,
        m=m,
        n=n,
        k=k,
        batch=batch,
        layout=_word(shape, "layout", LAYOUTS, place),
        library=PRODUCT_LIBRARY,
        latency_us=_latency_us(flop, rate, place),
        source_id=SOURCE,
    )


def _attention(
    shape: Shape, rate: float, place: Place, *, device: str, direction: str
) -> AttentionRow:
    names = ("batch", "seq_len", "head_num", "kv_head_num", "qk_head_dim")
    batch, length, heads, kv_heads, width = (_size(shape, name, place) for name in names)
    if heads % kv_heads:
        complaint = f"kv_head_num = {kv_heads}; expected a divisor of head_num = {heads}"
        raise place.error(complaint)
    flop = 2.0 * FLOP_PER_MULTIPLY_ADD * batch * length * length * heads * width
    flop *= BACKWARD_RATIO if direction == "bwd" else 1.0
    return AttentionRow(
        device=device,
        dtype=ATTENTION_DTYPE,
        batch=batch,
        heads_q=heads,
        heads_kv=kv_heads,
        seq_q=length,
        seq_kv=length,
        head_dim=width,
        causal=True,
        direction=direction,
        library=ATTENTION_LIBRARY,
        latency_us=_latency_us(flop, rate, place),
        source_id=SOURCE,
    )
