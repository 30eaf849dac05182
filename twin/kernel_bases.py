"""On which fit the prediction of each kernel of a device rests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hardware_profiles.accelerator import Accelerator
from kernels.gemm.precision import nearest_dtype
from kernels.libraries import implementation
from kernels.prediction.entries import (
    UNFUSED,
    attention_entry,
    attention_name,
    collective_library,
    collective_operation,
    is_fused,
    operation_class_name,
)
from twin.calibration_view import FitRow, fit_rows
from twin.layer_kernels import STEP_MODEL, layer_attention

if TYPE_CHECKING:
    from twin.kernel_columns import KernelKind

__all__ = ["NO_BASES", "KernelBases", "kernel_bases"]


@dataclass(frozen=True, slots=True)
class KernelBases:
    """Finds the fit behind a kernel, by the rules of the predictors."""

    fits: tuple[FitRow, ...]
    step_attention: str
    """Implementation of attention that the step model uses."""
    _by_name: dict[tuple[str, str], FitRow] = field(init=False)
    _attention: tuple[str, ...] = field(init=False)
    _dtypes: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        by_name = {(fit.family, fit.variant): fit for fit in self.fits}
        names = [variant.split() for family, variant in by_name if family == "attention"]
        dtypes = [variant for family, variant in by_name if family == "gemm"]
        object.__setattr__(self, "_by_name", by_name)
        object.__setattr__(self, "_attention", tuple(dict.fromkeys(name for name, *_ in names)))
        object.__setattr__(self, "_dtypes", frozenset(one for one in dtypes if " " not in one))

    def fit_of(self, kind: KernelKind) -> FitRow | None:
        """The fit that predicts kernels of a kind; None where no model does."""
        if kind.family == "gemm":
            return self._gemm(kind)
        if kind.family == "attention":
            return self._attention_fit(kind)
        if kind.family == "collective":
            operation = collective_operation(kind.name)
            variant = f"{operation} {collective_library(kind.library)}"
            return self._first("collective", variant, operation)
        return self._first("memory_bound", *self._operations(kind), "")

    def _first(self, family: str, *variants: str) -> FitRow | None:
        found = (self._by_name.get((family, variant)) for variant in variants)
        return next((fit for fit in found if fit is not None), None)

    def _gemm(self, kind: KernelKind) -> FitRow | None:
        dtype = nearest_dtype(kind.dtype, self._dtypes)
        if dtype is None:
            return None
        return self._first("gemm", f"{dtype} {implementation('gemm', kind.library)}", dtype)

    def _attention_fit(self, kind: KernelKind) -> FitRow | None:
        entry: str | None = self.step_attention
        if kind.library != STEP_MODEL:
            name = attention_name(kind.library, is_causal=kind.is_causal)
            known = self._attention
            decoders = [one for one in known if ("attention", f"{one} decode") in self._by_name]
            found = attention_entry(name, kind.direction, known, decoders)
            entry = None if name == UNFUSED else found
        if entry is None:
            return None
        passes = {"fwd_bwd": ("bwd", "fwd"), "fwd_decode": ("decode",)}
        of_passes = [
            self._by_name.get(("attention", f"{entry} {one}"))
            for one in passes.get(kind.direction, (kind.direction,))
        ]
        # Of a forward and a backward call in one timing, the weaker basis counts.
        return min((fit for fit in of_passes if fit), key=lambda fit: fit.strength, default=None)

    @staticmethod
    def _operations(kind: KernelKind) -> tuple[str, ...]:
        if not kind.is_operation or kind.library == STEP_MODEL or is_fused(kind.library):
            return ()
        return (operation_class_name(kind.name, kind.direction),)


NO_BASES = KernelBases(fits=(), step_attention="")
"""Of a device of which nothing is known."""


def kernel_bases(device: Accelerator) -> KernelBases:
    """The fits of a device, ready to be asked which of them is behind a kernel."""
    return KernelBases(fits=fit_rows(device), step_attention=layer_attention(device))
