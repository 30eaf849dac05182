"""Output of mamf-finder: matrix products by the rate at which they ran.

Format: github.com/stas00/ml-engineering, ``compute/accelerator/benchmarks/mamf-finder.py``. A
header names dtype and device; then comes one progress line per shape, in one of three forms:

- benchmark version 1: ``12 | 612.3 TFLOPS @ 4096x4096x4096 | best: …``
- version 2: ``12 | 610.1(mean) 612.3(median) 640.0(max) @ 4096x4096x4096 | best: …``
- versions 3 and 4: ``12  4096x4096x4096  610.1 612.3 640.0 655.2``, mean, median, maximum and best
  mean so far, followed by watts and megahertz where they were sampled.

Shapes are MxNxK and one TFLOPS is 1e12 flop/s. The median is taken where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kernels.importers.cells import Place, count, positive, text_of
from kernels.importers.dtypes import tidy_dtype
from kernels.importers.request import ImportRequest, Rows
from kernels.importers.tidy_rows import GemmRow
from kernels.measurement_tables import MeasurementError

__all__ = ["SOURCE", "import_mamf", "is_mamf"]

SOURCE = "MAMF-FINDER"
FLOP_PER_MULTIPLY_ADD = 2.0
FLOP_PER_US_PER_TFLOPS = 1e6

_SHAPE = r"(?P<m>\d+)x(?P<n>\d+)x(?P<k>\d+)"
_ROWS = (
    re.compile(
        rf"\d+ \|\s*\S+\(mean\)\s*(?P<rate>\S+)\(median\)\s*\S+\(max\) @ {_SHAPE}\s*\| best: .*\S"
    ),
    re.compile(rf"\d+ \|\s*(?P<rate>\S+) TFLOPS @ {_SHAPE}\s*\| best: .*\S"),
    re.compile(rf"\d+\s+{_SHAPE}\s+\S+\s+(?P<rate>\S+)\s+\S+\s+\S+(?:\s+\S+){{0,2}}"),
)
_BEGINS_LIKE_ROW = re.compile(r"\d+(\s*\||\s+\d+x)")
_DTYPE = re.compile(r"\*\* Dtype: (\S+)")
_DEVICE = re.compile(r"\bname='([^']+)'")
_TORCH = re.compile(r"^- torch=(\S+)", re.MULTILINE)


def is_mamf(text: str) -> bool:
    """Whether a text begins as mamf-finder's output does."""
    return "** Dtype:" in text and ("mamf-finder" in text or "benchmark version" in text)


def import_mamf(path: Path, request: ImportRequest) -> Rows:
    """Every shape that was tried, as a timing of one product.

    Raises
    ------
    MeasurementError
        No dtype, no shapes, or a progress line that is cut off or holds a wrong number.
    """
    text = text_of(path)
    line = next((n for n, one in enumerate(text.split("\n"), 1) if "** Dtype:" in one), 1)
    place = Place(path, f"line {line}")
    said = _DTYPE.search(text)
    if said is None:
        message = f"{path}: names no dtype; expected a line '** Dtype: bfloat16'"
        raise MeasurementError(message)
    dtype = tidy_dtype(said[1], "Dtype", place)
    device = _DEVICE.search(text)
    profile = request.devices().profile(device[1] if device else None, place)
    version = _TORCH.search(text)
    routine = "torch._scaled_mm" if dtype in {"fp8", "mxfp8", "mxfp4", "nvfp4"} else "torch.mm"
    library = f"{routine} torch-{version[1]}" if version else routine
    rows = [
        _row(found, place, device=profile, dtype=dtype, library=library)
        for found, place in _shapes(path, text)
    ]
    if not rows:
        message = f"{path}: holds no shapes; expected progress lines of mamf-finder"
        raise MeasurementError(message)
    return {"gemm": [*rows]}


def _shapes(path: Path, text: str) -> Iterator[tuple[re.Match[str], Place]]:
    for number, line in enumerate(text.split("\n"), start=1):
        # A captured terminal keeps the carriage returns that the log file has as line ends.
        for part in re.split(r"\r|\x1b\[K", line):
            row = part.strip()
            if not _BEGINS_LIKE_ROW.match(row):
                continue
            place = Place(path, f"line {number}")
            found = next((match for form in _ROWS if (match := form.fullmatch(row))), None)
            if found is None:
                complaint = f"{row[:60]!r} is no whole progress line (rate @ MxNxK)"
                raise place.error(complaint)
            yield found, place


def _row(found: re.Match[str], place: Place, *, device: str, dtype: str, library: str) -> GemmRow:
    m, n, k = (count(found[letter], letter.upper(), place) for letter in "mnk")
    rate_tflops = positive(found["rate"], "TFLOPS", place)
    flop = FLOP_PER_MULTIPLY_ADD * m * n * k
    return GemmRow(
        device=device,
        dtype=dtype,
        m=m,
        n=n,
        k=k,
        library=library,
        latency_us=flop / (rate_tflops * FLOP_PER_US_PER_TFLOPS),
        source_id=SOURCE,
    )
