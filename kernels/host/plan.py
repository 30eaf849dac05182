"""Which sizes are measured, and which of them are set aside: decided by rule, before any is.

Sizes that a fit sees are chosen from a grid in two halves: those that tell most about the
parameters of the family's formula (`design`), which are mostly corners, and a sample of the whole
range, so that a formula that is wrong somewhere cannot hide it. Sizes set aside are drawn
log-uniformly over the same range by a generator whose seed is the family's name: the same on every
machine and in every run, whatever was measured. None of them is fitted.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from kernels.host.calls import OPERATION_CALLS
from kernels.host.case import ATTENTION, GEMM, OPERATIONS, HostCase
from kernels.host.design import telling

__all__ = ["Effort", "HostPlan", "host_plan"]

POWERS = tuple(2**p for p in range(4, 15))
GRID = tuple(sorted({*POWERS, *(3 * power // 2 for power in POWERS)}))
"""Sizes that a fit may see: two in each octave. [elements]"""

M_RANGE, N_RANGE, K_RANGE = (16, 4096), (64, 16384), (16, 16384)
"""Tokens and widths of weights as products of all three passes meet them. [elements]"""

LAYOUTS = ("NN", "TN", "NT")
"""x W, dy W^T and x^T dy: what is stored transposed is packed at another speed."""

LARGEST_FLOP = {"blas": 2.5e9, "numba": 2.5e9, "fwd": 2e8, "bwd": 5e8}
"""What one call may cost in a quick calibration: some hundredths of a second; products go as far as
the benches of the host (benches/shapes.py). [flop]"""

LARGEST_BYTES = 80e6
"""Operands of one call, which the pool must hold. [byte]"""

SMALLEST_FLOP = 1e6
"""Below, a product is all call; the floor is told by some at this size. [flop]"""

HEADS, GROUPS, HEAD_DIMS = (1, 2, 4, 8), (1, 2, 4), (32, 64, 128)
TOKENS = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048)

N_HELDOUT = {"blas": 12, "numba": 12, "fwd": 10, "bwd": 10}
"""Sizes set aside for each part. [1]"""

N_HELDOUT_OPERATION = 2

OPERATION_ROWS, OPERATION_COLUMNS = (32, 2048), (64, 4096)
VOCABULARY = (512, 16384)
OPERATION_ELEMENTS = (2**12, 2**22)
"""Smallest and largest matrix of an operation. [elements]"""

LARGEST_EXPONENTIALS = 2**20
"""Elements of operations that evaluate exponentials, which some compilers do one by one. [1]"""

STREAMS = ("copy-fwd", "residual_add-fwd")
EXPONENTIALS = ("swiglu", "gelu", "cross_entropy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured."""

    n_fitted: dict[str, int]
    """Sizes that a fit sees, by part. [1]"""
    n_operation: int
    """The same for each operation. [1]"""
    n_stream: int
    """The same for operations that only move data, which tell of all caches. [1]"""
    n_rounds: int
    """Visits to every size, one round after the other. [1]"""
    flop_scale: float
    """What a call may cost over that of a quick calibration. [1]"""
    visit_s: float
    """Time measured in one visit. [s]"""
    deadline_s: float
    """No round begins later than this after the start. [s]"""


QUICK = Effort(
    n_fitted={"blas": 36, "numba": 36, "fwd": 16, "bwd": 16},
    n_operation=4,
    n_stream=8,
    n_rounds=12,
    flop_scale=1.0,
    visit_s=0.005,
    deadline_s=75.0,
)

WHOLE = Effort(
    n_fitted={"blas": 72, "numba": 72, "fwd": 32, "bwd": 32},
    n_operation=9,
    n_stream=16,
    n_rounds=25,
    flop_scale=4.0,
    visit_s=0.012,
    deadline_s=480.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """All cases and how often they are visited."""

    cases: tuple[HostCase, ...]
    effort: Effort


def host_plan(*, is_quick: bool) -> HostPlan:
    """The plan of a calibration of the host.

    Parameters
    ----------
    is_quick
        Fewer and smaller sizes, fewer rounds.
    """
    effort = QUICK if is_quick else WHOLE
    cases = [
        *itertools.chain.from_iterable(_gemm_cases(part, effort) for part in ("blas", "numba")),
        *itertools.chain.from_iterable(_attention_cases(part, effort) for part in ("fwd", "bwd")),
        *itertools.chain.from_iterable(_operation_cases(name, effort) for name in OPERATION_CALLS),
    ]
    return HostPlan(cases=tuple(cases), effort=effort)


def _random(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _log_uniform(random: np.random.Generator, bounds: tuple[int, int], *, step: int) -> int:
    """A size between the bounds, in whole steps. [elements]"""
    size = float(np.exp(random.uniform(*np.log(bounds))))
    return max(bounds[0], step * round(size / step))


def _gemm_cases(part: str, effort: Effort) -> list[HostCase]:
    grid = itertools.product(
        *([p for p in GRID if low <= p <= high] for low, high in (M_RANGE, N_RANGE, K_RANGE))
    )
    candidates = [
        HostCase(family=GEMM, part=part, sizes=sizes, layout=_layout(sizes)) for sizes in grid
    ]
    heldout = _drawn_gemms(part, effort, n=N_HELDOUT[part], name=f"gemm-{part}", is_heldout=True)
    taken = {case.sizes for case in heldout}
    free = [c for c in candidates if _is_affordable(c, effort) and c.sizes not in taken]
    first = telling(free, effort.n_fitted[part] // 2)
    # Rows of a grid of powers of two begin where caches conflict, rows of most sizes do not.
    n, taken = effort.n_fitted[part] - len(first), taken | {case.sizes for case in first}
    rest = _drawn_gemms(part, effort, n=n, name=f"gemm-{part}-fitted", taken=taken)
    return [*first, *rest, *heldout]


def _drawn_gemms(
    part: str,
    effort: Effort,
    *,
    n: int,
    name: str,
    is_heldout: bool = False,
    taken: Collection[tuple[int, ...]] = (),
) -> list[HostCase]:
    """Products drawn log-uniformly over the range, as many of each layout."""
    random = _random(name)
    found: dict[tuple[int, ...], HostCase] = {}
    while len(found) < n:
        sizes = tuple(_log_uniform(random, one, step=8) for one in (M_RANGE, N_RANGE, K_RANGE))
        layout = LAYOUTS[len(found) % len(LAYOUTS)]
        case = HostCase(family=GEMM, part=part, sizes=sizes, layout=layout, is_heldout=is_heldout)
        if _is_affordable(case, effort) and sizes not in taken:
            found[sizes] = case
    return list(found.values())


def _layout(sizes: tuple[int, ...]) -> str:
    """One layout for each size of the grid, in no order."""
    return LAYOUTS[zlib.crc32(str(sizes).encode()) % len(LAYOUTS)]


def _attention_cases(part: str, effort: Effort) -> list[HostCase]:
    grid = [
        (1, heads, heads // group, tokens, head_dim, causal)
        for heads, group, tokens, head_dim, causal in itertools.product(
            HEADS, GROUPS, TOKENS, HEAD_DIMS, (1, 0)
        )
        if heads % group == 0 and (causal or group == 1)
    ]
    candidates = [HostCase(family=ATTENTION, part=part, sizes=sizes) for sizes in grid]
    random = _random(f"attention-{part}")
    heldout: dict[tuple[int, ...], HostCase] = {}
    while len(heldout) < N_HELDOUT[part]:
        heads = int(random.choice((2, 3, 4, 6, 8)))
        groups = [group for group in GROUPS if heads % group == 0]
        sizes = (
            int(random.choice((1, 2))),
            heads,
            heads // int(random.choice(groups)),
            _log_uniform(random, (TOKENS[0], TOKENS[-1]), step=8),
            int(random.choice(HEAD_DIMS)),
            int(random.random() < 0.75),
        )
        case = HostCase(family=ATTENTION, part=part, sizes=sizes, is_heldout=True)
        if _is_affordable(case, effort):
            heldout[sizes] = case
    return _chosen(candidates, list(heldout.values()), effort)


def _is_affordable(case: HostCase, effort: Effort) -> bool:
    most = effort.flop_scale * LARGEST_FLOP[case.part]
    return case.traffic_bytes <= LARGEST_BYTES and SMALLEST_FLOP <= case.flop <= most


def _chosen(
    candidates: Sequence[HostCase], heldout: list[HostCase], effort: Effort
) -> list[HostCase]:
    """Half of what is fitted tells most, half is any; what is set aside follows."""
    taken = {case.sizes for case in heldout}
    n_fitted = effort.n_fitted[candidates[0].part]
    free = [c for c in candidates if _is_affordable(c, effort) and c.sizes not in taken]
    # An order that mixes the grid but is the same in every run.
    free.sort(key=lambda case: zlib.crc32(case.key.encode()))
    first = telling(free, n_fitted // 2)
    rest = [case for case in free if case not in first]
    return [*first, *rest[: n_fitted - len(first)], *heldout]


def _operation_cases(name: str, effort: Effort) -> list[HostCase]:
    random = _random(f"operation-{name}")
    columns = VOCABULARY if name.startswith("cross_entropy") else OPERATION_COLUMNS
    is_heavy = name.startswith(EXPONENTIALS)
    most = LARGEST_EXPONENTIALS if is_heavy else OPERATION_ELEMENTS[1]
    n_fitted = effort.n_stream if name in STREAMS else effort.n_operation
    n_all = n_fitted + N_HELDOUT_OPERATION
    # Stratified over the size of the matrix: every decade is seen, also by what is set aside.
    heldout = {round((i + 0.5) * n_all / N_HELDOUT_OPERATION) for i in range(N_HELDOUT_OPERATION)}
    edges = np.linspace(math.log(OPERATION_ELEMENTS[0]), math.log(most), n_all)
    cases = []
    for i, edge in enumerate(edges):
        n_columns = _log_uniform(random, _possible(columns, np.exp(edge)), step=32)
        n_rows = max(1, round(float(np.exp(edge)) / n_columns))
        cases.append(
            HostCase(
                family=OPERATIONS, part=name, sizes=(n_rows, n_columns), is_heldout=i in heldout
            )
        )
    return cases


def _possible(columns: tuple[int, int], n_elements: float) -> tuple[int, int]:
    """Columns that leave a matrix of this size a few rows. [elements]"""
    most = min(columns[1], int(n_elements / 4.0))
    return (min(columns[0], most), max(most, min(columns[0], most) + 1))
