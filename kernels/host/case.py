"""One thing that a calibration of the host measures: a kernel at one size."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.gemm.model import FLOP_PER_MULTIPLY_ADD
from kernels.memory_bound.machine import traffic_passes

__all__ = ["ATTENTION", "DTYPE", "GEMM", "OPERATIONS", "HostCase"]

GEMM, ATTENTION, OPERATIONS = "gemm", "attention", "memory_bound"

DTYPE = "fp32"
"""Everything on the host is measured in single precision."""

ITEM_BYTES = 4

PRODUCTS = {"fwd": 2.0, "bwd": 5.0}
"""Matrix products of attention that its model counts, by direction. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCase:
    """A kernel and its sizes."""

    family: str
    """gemm, attention or memory_bound."""
    part: str
    """blas or numba; fwd or bwd; name of the operation with its direction."""
    sizes: tuple[int, ...]
    """m, n, k of a product; batch, heads, key-value heads, tokens, head dim and 1 for a causal mask
    of attention; rows and columns of an operation. [1]"""
    layout: str = "NN"
    """Of a product: TN where B is stored transposed, NT where A is, NN where neither."""
    is_heldout: bool = False
    """Set aside for judging the fit, decided before anything is measured."""

    @property
    def key(self) -> str:
        """Name in journals and tables."""
        layout = f"/{self.layout}" if self.family == GEMM else ""
        return f"{self.family}/{self.part}/{'x'.join(map(str, self.sizes))}{layout}"

    @property
    def flop(self) -> float:
        """Matrix work; 0 for operations. [flop]"""
        if self.family == GEMM:
            m, n, k = self.sizes
            return FLOP_PER_MULTIPLY_ADD * m * n * k
        if self.family == ATTENTION:
            batch, heads, _, tokens, head_dim, is_causal = self.sizes
            pairs = batch * heads * tokens * tokens * (0.5 if is_causal else 1.0)
            return FLOP_PER_MULTIPLY_ADD * PRODUCTS[self.part] * pairs * head_dim
        return 0.0

    @property
    def traffic_bytes(self) -> float:
        """Operands read once and results written once. [byte]"""
        if self.family == GEMM:
            m, n, k = self.sizes
            return float(ITEM_BYTES * (m * k + k * n + m * n))
        if self.family == ATTENTION:
            batch, heads, kv_heads, tokens, head_dim, _ = self.sizes
            return float(ITEM_BYTES * 2 * batch * tokens * head_dim * (heads + kv_heads))
        rows, columns = self.sizes
        return ITEM_BYTES * rows * columns * traffic_passes(self.part)
