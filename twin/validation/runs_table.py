"""Published training runs as a table: one CSV row, one typed run in base units.

A missing column reads as blank and an unknown one is passed over, so that older and newer files
both work, unless its name is nearly that of a missing one; everything else that is wrong is told by
file, line, column and value.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.errors import TweelingError

__all__ = ["PublishedRun", "RunsError", "read_runs"]

GIB = 2.0**30
HOUR_S = 3600.0
NEARLY = 0.85
"""Likeness of two names, one of which is taken for the other misspelt. [1]"""


class RunsError(TweelingError):
    """A file of published runs cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRun:
    """One published measurement; None and the empty text mean that the source is silent."""

    run_id: str
    source_id: str = ""
    vendor: str = ""
    device: str = ""
    n_devices: int | None = None
    n_devices_per_node: int | None = None
    interconnect_intra: str = ""
    interconnect_inter: str = ""
    model_name: str = ""
    n_parameters: float | None = None
    n_layers: int | None = None
    hidden: int | None = None
    ffn_hidden: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    head_dim: int | None = None
    vocabulary: int | None = None
    is_gated_mlp: bool | None = None
    attention_type: str = ""
    n_experts: int | None = None
    n_experts_per_token: int | None = None
    n_active_parameters: float | None = None
    seq_len: int | None = None
    global_batch: int | None = None
    micro_batch: int | None = None
    task: str = ""
    precision: str = ""
    framework: str = ""
    software_release: str = ""
    sharding: str = ""
    tp: int | None = None
    pp: int | None = None
    vpp: int | None = None
    dp: int | None = None
    cp: int | None = None
    ep: int | None = None
    has_sequence_parallel: bool | None = None
    recompute: str = ""
    recompute_modules: str = ""
    n_recompute_layers: int | None = None
    n_cpu_offload_layers: int | None = None
    has_flash_attention: bool | None = None
    cuda_graph: str = ""
    n_micro_batches: int | None = None
    step_time_s: float | None = None
    tokens_per_s_per_device: float | None = None
    derived_tokens_per_s_per_device: float | None = None
    flop_per_s_per_device: float | None = None
    mfu: float | None = None
    hfu: float | None = None
    flop_convention: str = ""
    best_convention: str = ""
    energy_j: float | None = None
    """Of the whole run. [J]"""
    device_power_w: float | None = None
    power_covers: str = ""
    memory_bytes: float | None = None
    """Per device; the file's number is GiB where its notes say so, else GB. [byte]"""
    run_time_s: float | None = None
    steps_share_fraction: float | None = None
    """Steps times step time over the run time. [1]"""
    consistency: str = ""
    provenance: str = ""
    notes: str = ""

    @property
    def measured_step_time_s(self) -> float | None:
        """Stated step time, else tokens of a step over the stated or derived rate. [s]"""
        if self.step_time_s is not None:
            return self.step_time_s
        rate = self.tokens_per_s_per_device or self.derived_tokens_per_s_per_device
        if not (rate and self.global_batch and self.seq_len and self.n_devices):
            return None
        return self.global_batch * self.seq_len / (rate * self.n_devices)


LARGEST_COUNT = 1e12
"""Beyond what anything is counted in: layers, tokens, devices. [1]"""


def read_runs(path: Path) -> tuple[PublishedRun, ...]:
    """Read all runs of a CSV file with the columns of the published collection.

    Raises
    ------
    RunsError
        For a file that cannot be read, a line with too few or too many cells, a cell that is no
        number or truth value where one is expected, and a run_id that stands twice.
    """
    runs: dict[str, PublishedRun] = {}
    first_line: dict[str, int] = {}
    for line, row in _rows(path):
        run = _run(row, where=f"{path}:{line}")
        if run.run_id in runs:
            earlier = first_line[run.run_id]
            msg = f'{path}:{line}: run_id "{run.run_id}" stands in line {earlier} already'
            raise RunsError(msg)
        runs[run.run_id] = run
        first_line[run.run_id] = line
    if not runs:
        msg = f"{path}: no runs behind the header"
        raise RunsError(msg)
    return tuple(runs.values())


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column of each row that is not blank."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = _checked_header(next(reader, []), path)
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    yield (
                        line,
                        dict(zip(header, _whole(cells, header, f"{path}:{line}"), strict=True)),
                    )
                line = reader.line_num + 1
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise RunsError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: byte {error.start} is not UTF-8 text; expected a CSV file"
        raise RunsError(msg) from error
    except csv.Error as error:
        msg = f"{path}:{line}: not CSV: {error}"
        raise RunsError(msg) from error


def _checked_header(header: list[str], path: Path) -> list[str]:
    if "run_id" not in header:
        msg = f"{path}:1: no column run_id; expected the columns of a table of published runs"
        raise RunsError(msg)
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        msg = f"{path}:1: column {twice[0]} stands twice"
        raise RunsError(msg)
    missing = [name for name in COLUMNS if name not in header]
    for name in header:
        meant = difflib.get_close_matches(name, missing, n=1, cutoff=NEARLY)
        if name not in COLUMNS and meant:
            msg = f'{path}:1: column "{name}" is unknown; expected {meant[0]}'
            raise RunsError(msg)
    return header


def _whole(cells: list[str], header: list[str], where: str) -> list[str]:
    if len(cells) != len(header):
        fault = "line ends early" if len(cells) < len(header) else "line is too long"
        last = header[min(len(cells), len(header)) - 1]
        msg = f"{where}: {fault}: {len(cells)} cells up to column {last}, expected {len(header)}"
        raise RunsError(msg)
    return cells


def _run(row: dict[str, str], *, where: str) -> PublishedRun:
    values: dict[str, object] = {}
    for column, (field, read) in COLUMNS.items():
        text = row.get(column, "").strip()
        if not text:
            continue
        try:
            values[field] = read(text)
        except ValueError as error:
            msg = f'{where}: column {column}: "{text}"; expected {error}'
            raise RunsError(msg) from None
    if "run_id" not in values:
        msg = f"{where}: column run_id is blank; expected a name for the run"
        raise RunsError(msg)
    if "GiB" in row.get("notes", "") and "memory_bytes" in values:
        values["memory_bytes"] = float(row["memory_gb"]) * GIB
    return PublishedRun(**values)  # type: ignore[arg-type]  # COLUMNS pairs fields with readers


def _whole_number(text: str, *, smallest: int) -> int:
    expected = f"a whole number of at least {smallest}, at most {LARGEST_COUNT:.0e}"
    number = _float(text, expected=expected)
    if number != int(number) or not smallest <= number <= LARGEST_COUNT:
        raise ValueError(expected)
    return int(number)


def _float(text: str, *, expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(expected) from None
    if not math.isfinite(number):
        raise ValueError(expected)
    return number


def _count(text: str) -> int:
    return _whole_number(text, smallest=1)


def _count_or_none(text: str) -> int:
    return _whole_number(text, smallest=0)


def _scaled(factor: float) -> Callable[[str], float]:
    """Reader of a number above zero that stands in the file's unit."""

    def read(text: str) -> float:
        expected = "a number above 0"
        number = _float(text, expected=expected)
        if number <= 0:
            raise ValueError(expected)
        return number * factor

    return read


def _truth(text: str) -> bool:
    answer = {"true": True, "false": False}.get(text.lower())
    if answer is None:
        expected = "True or False"
        raise ValueError(expected)
    return answer


def _text(text: str) -> str:
    return text


COLUMNS: dict[str, tuple[str, Callable[[str], object]]] = {
    "run_id": ("run_id", _text),
    "source_id": ("source_id", _text),
    "vendor": ("vendor", _text),
    "device": ("device", _text),
    "devices_total": ("n_devices", _count),
    "devices_per_node": ("n_devices_per_node", _count),
    "interconnect_intra": ("interconnect_intra", _text),
    "interconnect_inter": ("interconnect_inter", _text),
    "model_name": ("model_name", _text),
    "params_b": ("n_parameters", _scaled(1e9)),
    "layers": ("n_layers", _count),
    "hidden": ("hidden", _count),
    "ffn_hidden": ("ffn_hidden", _count),
    "heads": ("n_heads", _count),
    "kv_heads": ("n_kv_heads", _count),
    "head_dim": ("head_dim", _count),
    "vocab": ("vocabulary", _count),
    "gated_mlp": ("is_gated_mlp", _truth),
    "attention_type": ("attention_type", _text),
    "moe_experts": ("n_experts", _count_or_none),
    "moe_topk": ("n_experts_per_token", _count_or_none),
    "active_params_b": ("n_active_parameters", _scaled(1e9)),
    "seq_len": ("seq_len", _count),
    "global_batch_seqs": ("global_batch", _count),
    "micro_batch_seqs": ("micro_batch", _count),
    "task": ("task", _text),
    "precision": ("precision", _text),
    "framework": ("framework", _text),
    "software_release": ("software_release", _text),
    "sharding": ("sharding", _text),
    "tp": ("tp", _count),
    "pp": ("pp", _count),
    "vpp": ("vpp", _count),
    "dp": ("dp", _count),
    "cp": ("cp", _count),
    "ep": ("ep", _count),
    "sequence_parallel": ("has_sequence_parallel", _truth),
    "recompute": ("recompute", _text),
    "recompute_modules": ("recompute_modules", _text),
    "recompute_layers": ("n_recompute_layers", _count_or_none),
    "cpu_offload_layers": ("n_cpu_offload_layers", _count_or_none),
    "flash_attention": ("has_flash_attention", _truth),
    "cuda_graph": ("cuda_graph", _text),
    "grad_accum": ("n_micro_batches", _count),
    "step_time_s": ("step_time_s", _scaled(1.0)),
    "tokens_per_s_per_device": ("tokens_per_s_per_device", _scaled(1.0)),
    "derived_tokens_per_s_per_device": ("derived_tokens_per_s_per_device", _scaled(1.0)),
    "tflops_per_device": ("flop_per_s_per_device", _scaled(1e12)),
    "mfu": ("mfu", _scaled(0.01)),
    "hfu": ("hfu", _scaled(0.01)),
    "flops_convention": ("flop_convention", _text),
    "best_convention": ("best_convention", _text),
    "energy_wh": ("energy_j", _scaled(HOUR_S)),
    "power_w_per_device": ("device_power_w", _scaled(1.0)),
    "power_covers": ("power_covers", _text),
    "memory_gb": ("memory_bytes", _scaled(1e9)),
    "time_to_train_min": ("run_time_s", _scaled(60.0)),
    "steps_share_of_run": ("steps_share_fraction", _scaled(1.0)),
    "consistency": ("consistency", _text),
    "provenance": ("provenance", _text),
    "notes": ("notes", _text),
}
"""Column of the file to field of the run and reader; figures come in base units."""
