"""CuPy and a device, or one line that says what is missing."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from kernels.backends import BackendError

__all__ = ["require_cupy", "why_no_gpu"]


def why_no_gpu() -> str | None:
    """Say in one line why no GPU can be used through CuPy; None when one can."""
    if importlib.util.find_spec("cupy") is None:
        return "cupy is not installed; pip install '.[cuda13]' or '.[rocm]' brings it"
    try:
        cupy = importlib.import_module("cupy")
        n_devices = int(cupy.cuda.runtime.getDeviceCount())
    except (ImportError, OSError) as error:
        return f"cupy cannot be imported: {error}"
    except RuntimeError as error:
        return f"cupy sees no device: {error}"
    return None if n_devices else "cupy sees no device"


def require_cupy() -> Any:  # noqa: ANN401 -- module
    """Return the module CuPy, imported now.

    Raises
    ------
    BackendError
        In one line, when it or a device is missing.
    """
    reason = why_no_gpu()
    if reason is not None:
        raise BackendError(reason)
    return importlib.import_module("cupy")
