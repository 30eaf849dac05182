"""The command line of collectives on GPUs, and the tidy table that it prints.

`twin measurements import` and `twin calibrate --from` read the table as it is.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

from kernels.all_reduce.gpu_tasks import ELEMENT_BYTES, TASK_ALGORITHMS, GpuTask
from kernels.all_reduce.nccl_operations import CALLS
from kernels.all_reduce.round_times import RoundTimes

__all__ = ["Chosen", "Setting", "parse_arguments", "table"]

TIDY_DTYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64"}
COLUMNS = (
    *("device", "op", "dtype", "ranks", "nodes", "link", "message_bytes", "latency_us"),
    *("bus_bandwidth_bytes_per_s", "library"),
)
SMALLEST, LARGEST, LARGEST_PEER = 10, 30, 26
"""Messages as powers of two; beyond the last our own kernels would only show that they are not
made for it. [1]"""


class Chosen(NamedTuple):
    """What the options ask for."""

    tasks: tuple[GpuTask, ...]
    nodes: int | None
    link: str


class Setting(NamedTuple):
    """What all rows of a table have in common."""

    device: str
    """As its driver calls it."""
    nodes: int
    link: str
    vendor_library: str
    """Such as nccl-2.27.3."""

    @classmethod
    def of(cls, cupy: Any, nccl: Any, *, nodes: int, link: str) -> Self:  # noqa: ANN401 -- modules
        """That of this process."""
        name = cupy.cuda.runtime.getDeviceProperties(0)["name"]
        major, rest = divmod(int(nccl.get_version()), 10_000)
        version = f"{major}.{rest // 100}.{rest % 100}"
        return cls(
            device=name.decode() if isinstance(name, bytes) else str(name),
            nodes=nodes,
            link=link,
            vendor_library=f"{'rccl' if cupy.cuda.runtime.is_hip else 'nccl'}-{version}",
        )


def parse_arguments(arguments: Sequence[str] | None) -> Chosen:
    """Options as tasks; what cannot be ends the process with argparse's two lines."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.all_reduce.gpu", description="Time a collective on all GPUs."
    )
    parser.add_argument("operation", choices=list(CALLS))
    parser.add_argument("--dtype", default="float32", choices=list(ELEMENT_BYTES))
    parser.add_argument("--algorithm", default="nccl", choices=TASK_ALGORITHMS)
    parser.add_argument("--rounds-per-graph", type=int, default=0, help="0: each by itself")
    parser.add_argument("--nodes", type=_count, help="machines, where a launcher started the ranks")
    parser.add_argument("--link", default="", help="wires, such as NVLink4+NVSwitch")
    chosen = parser.parse_args(arguments)
    largest = LARGEST_PEER if chosen.algorithm in ("one_shot", "two_shot") else LARGEST
    tasks = tuple(
        GpuTask(
            chosen.operation,
            2**power,
            chosen.dtype,
            algorithm=chosen.algorithm,
            rounds_per_graph=chosen.rounds_per_graph,
        )
        for power in range(SMALLEST, largest + 1, 2)
    )
    return Chosen(tasks, chosen.nodes, chosen.link)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError  # argparse says what it got
    return number


def table(rows: Sequence[RoundTimes], setting: Setting) -> Iterator[str]:
    """Lines of CSV, a heading first."""
    for values in (COLUMNS, *(_values(row, setting) for row in rows)):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        yield line.getvalue()


def _values(row: RoundTimes, setting: Setting) -> tuple[object, ...]:
    library = setting.vendor_library if row.algorithm == "nccl" else f"tweeling-{row.algorithm}"
    return (
        *(setting.device, row.operation, TIDY_DTYPES[row.dtype], row.n_ranks, setting.nodes),
        *(setting.link, row.message_bytes, f"{row.median_s * 1e6:.7g}"),
        *(f"{row.bus_bandwidth_bytes_per_s:.7g}", library),
    )
