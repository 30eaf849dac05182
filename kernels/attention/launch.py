"""Launches of the flash kernels through CuPy: which of them, their tensor maps and grids."""

from __future__ import annotations

from typing import Any

from kernels.attention.flash_arguments import FlashCall, n_blocks
from kernels.attention.sources import find_flash_entry, flash_entry
from kernels.backends import BackendError
from kernels.gpu.launch import architecture_of, by_value, function_of
from kernels.gpu.tensor_map import encode_tensor_map, why_not_mappable

__all__ = [
    "BACKWARD",
    "FORWARD",
    "KERNELS",
    "choose_kernel",
    "kernel_for_heads",
    "launch",
    "resolve_kernel",
]

KERNELS = ("auto", "wgmma", "mma", "mfma")
"""auto is the fastest that the device has and the call fits."""
FORWARD = ("forward",)
BACKWARD = ("delta", "d_kv", "d_q")
"""Kernels of each direction, in their order."""
WGMMA_CAPABILITY = 90
"""Compute capability whose code alone has wgmma. [1]"""
MMA_CAPABILITY = 80
"""Compute capability from which on mma.sync takes bf16. [1]"""


def choose_kernel(*, architecture: str, does_wgmma_fit: bool) -> str:
    """Fastest kernel on a device.

    Parameters
    ----------
    architecture
        Such as ``sm_90`` or ``gfx942``.
    does_wgmma_fit
        Whether the kernels for Hopper take the call.

    Returns
    -------
    str
        One of `KERNELS` other than auto.

    Raises
    ------
    BackendError
        When there is none for this device.
    """
    if architecture.startswith("gfx9"):
        return "mfma"
    if architecture.startswith("sm_"):
        capability = int(architecture.removeprefix("sm_"))
        if capability == WGMMA_CAPABILITY and does_wgmma_fit:
            return "wgmma"
        if capability >= MMA_CAPABILITY:
            return "mma"
    msg = f"no attention kernel for {architecture}: expected sm_80 or later, or gfx9"
    raise BackendError(msg)


def kernel_for_heads(
    head_dim: int, passes: tuple[str, ...], *, architecture: str, dtype: str
) -> str:
    """Kernel that `auto` is on a device, where the operands' addresses suit every one.

    Raises
    ------
    BackendError
        When there is none for this device.
    """
    entries = [
        find_flash_entry(kind, kernel="wgmma", dtype=dtype, head_dim=head_dim) for kind in passes
    ]
    return choose_kernel(architecture=architecture, does_wgmma_fit=None not in entries)


def resolve_kernel(
    cupy: Any,  # noqa: ANN401 -- module
    call: FlashCall,
    passes: tuple[str, ...],
    *,
    kernel: str,
    dtype: str,
) -> str:
    """Kernel for a call: the one asked for, or the fastest one that takes it.

    Raises
    ------
    BackendError
        When the one asked for does not take the call, or the device has none.
    ValueError
        When there is no such kernel.
    """
    if kernel not in KERNELS:
        msg = f"kernel {kernel!r}: expected {', '.join(KERNELS)}"
        raise ValueError(msg)
    if kernel == "auto":
        reason = why_not(call, passes, kernel="wgmma", dtype=dtype)
        return choose_kernel(architecture=architecture_of(cupy), does_wgmma_fit=reason is None)
    reason = why_not(call, passes, kernel=kernel, dtype=dtype)
    if reason is not None:
        msg = f"kernel {kernel} cannot take this call: {reason}; kernel mma or mfma can"
        raise BackendError(msg)
    return kernel


def why_not(call: FlashCall, passes: tuple[str, ...], *, kernel: str, dtype: str) -> str | None:
    """Say in a few words why a kernel does not take a call; None when it does."""
    head_dim = call.query_shape[3]
    for kind in passes:
        found = find_flash_entry(kind, kernel=kernel, dtype=dtype, head_dim=head_dim)
        if found is None:
            return f"it has no {kind} for head_dim {head_dim}"
        for tensor in call.tensors(found[1]):
            reason = why_not_mappable(tensor)
            if reason is not None:
                return f"no tensor map: {reason}"
    return None


def launch(
    cupy: Any,  # noqa: ANN401 -- module
    call: FlashCall,
    passes: tuple[str, ...],
    *,
    kernel: str,
    dtype: str,
) -> None:
    """Queue the kernels of a direction on CuPy's current stream.

    Raises
    ------
    BackendError
        When the kernel does not take the call, or the device does not take the kernel.
    ValueError
        When there is no such kernel.
    """
    chosen = resolve_kernel(cupy, call, passes, kernel=kernel, dtype=dtype)
    for kind in passes:
        source, entry = flash_entry(kind, kernel=chosen, dtype=dtype, head_dim=call.query_shape[3])
        blocks = n_blocks(call, entry, over_keys=kind == "d_kv")
        if blocks == 0:
            continue
        function = function_of(cupy, source, entry)
        maps = [encode_tensor_map(tensor) for tensor in call.tensors(entry)]
        values = tuple(by_value(cupy, value) for value in (*maps, call.arguments()))
        grid, block = (blocks, 1, 1), (entry.n_threads, 1, 1)
        function(grid, block, values, shared_mem=entry.dynamic_shared_bytes)
