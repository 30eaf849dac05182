"""Operands in the memory of a GPU, and their values on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "DeviceArrays", "host_values"]

Array = Any
"""CuPy's array."""

STORED = {"bf16": "uint16", "fp16": "float16"}
"""Types of 16 bits as arrays hold them; CuPy has no bfloat16. Others are float32."""


class DeviceArrays:
    """Makes operands of random normal values."""

    def __init__(self, cupy: Any) -> None:  # noqa: ANN401 -- module
        self.cupy = cupy

    def normal(self, shape: tuple[int, ...], dtype: str, *, scale: float = 1.0) -> Array:
        """Normal values; bf16 is kept in uint16."""
        values = self.cupy.random.standard_normal(shape, dtype=np.float32)
        values *= np.float32(scale)
        if dtype == "bf16":
            bits = values.view(np.uint32)
            # Half of what is cut off is added: rounding to the nearest.
            bits += np.uint32(0x8000)
            bits >>= np.uint32(16)
            values = bits
        return values.astype(STORED.get(dtype, "float32"), copy=False)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Memory that is not written yet."""
        return self.cupy.empty(shape, dtype=STORED.get(dtype, "float32"))

    def placed(self, values: NDArray[Any], dtype: str) -> Array:
        """Values of the host in the memory of the device."""
        if dtype != "bf16":
            return self.cupy.asarray(values.astype(STORED.get(dtype, "float32")))
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        return self.cupy.asarray(((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16))


def host_values(array: Array, dtype: str) -> NDArray[np.float64]:
    """What a device's array holds, in float64."""
    found = np.asarray(array.get() if hasattr(array, "get") else array)
    if dtype == "bf16":
        found = (found.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return found.astype(np.float64)
