"""How long a key takes on the screens: switching, moving, filtering, a table of a million kernels.

Budgets: a switch and an edit at most 50 ms of CPU time in 95 of 100 cases, a page of a million
kernels at most 20 ms. Figures are CPU time from the key to the repaint, headless, 160 x 48 cells.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from textual.app import App, ComposeResult

from tui.app import TweelingApp
from tui.compute import RealTwin
from tui.screens.kernel_sheet import chart_of, sheet_of, table_columns
from tui.state import Session
from tui.widgets.column_table import ColumnTable
from twin.kernel_columns import KernelColumns, concatenated, kernel_filter, mask_of
from twin.scenario.example import example_scenario

SIZE = (160, 48)
N_ROWS = 1_000_000
SETTLING_S = 2.5
KEYS = {
    "switch": ("127", "127" * 10),
    "catalogue_move": ("2", "jjjjkkkk" * 4),
    "catalogue_filter": ("2", ["slash", *"mem>100 bf16>900"]),
    "kernels_move": ("7", "jk" * 16),
    "kernels_filter": ("7", ["slash", *"gemm m>4096"]),
}


async def seconds_per_key(before: Sequence[str], keys: Sequence[str]) -> list[float]:
    """CPU time of each key on the real twin. [s]"""
    app = TweelingApp(RealTwin, Session.of(example_scenario()), is_ascii=False)
    app.warms_up = True
    found = []
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SETTLING_S)
        for key in before:
            await pilot.press(key)
            await pilot.pause(SETTLING_S)
        for key in keys:
            started_s = time.process_time()
            await pilot.press(key)
            await pilot.pause()
            found.append(time.process_time() - started_s)
    return found


@pytest.mark.parametrize("name", KEYS)
def bench_keys(benchmark, name, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    before, keys = KEYS[name]
    found = benchmark.pedantic(
        lambda: asyncio.run(seconds_per_key(before, keys)), rounds=1, iterations=1
    )
    median_s, p95_s = np.percentile(found, [50, 95])
    benchmark.extra_info.update(n_keys=len(keys), cpu_median_s=median_s, cpu_p95_s=p95_s)
    assert median_s < 0.05


def a_million() -> KernelColumns:
    """Kernels of an H200's layers, many times over, with errors of their own."""
    layers = RealTwin().kernel_view.layers("h200-sxm")
    times = N_ROWS // len(layers)
    columns = concatenated([layers] * times)
    errors = np.random.default_rng(1).normal(scale=0.1, size=len(columns))
    columns.measured_s[:] = columns.predicted_s * np.exp(errors)
    return columns


@pytest.fixture(scope="module")
def sheet():
    return sheet_of(a_million())


def bench_filter_a_million_kernels(benchmark, sheet):
    wanted = kernel_filter("gemm bf16 err>10 m>4096")
    benchmark.extra_info.update(n_rows=len(sheet))
    mask = benchmark(mask_of, sheet.columns, wanted)
    assert mask.any()


def bench_roofline_of_a_million_kernels(benchmark, sheet):
    roofs = RealTwin().kernel_view.roofs("h200-sxm")
    benchmark.extra_info.update(n_rows=len(sheet))
    benchmark(chart_of, sheet, None, roofs=roofs, bases={}, selected=0)


class Host(App[None]):
    def __init__(self, table: ColumnTable) -> None:
        super().__init__()
        self.table = table

    def compose(self) -> ComposeResult:
        yield self.table


async def seconds_per_page(table: ColumnTable) -> float:
    """CPU time of one page of the table, the median of many. [s]"""
    app = Host(table)
    found = []
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        for _ in range(20):
            started_s = time.process_time()
            await pilot.press("pagedown")
            await pilot.pause()
            found.append(time.process_time() - started_s)
    return float(np.median(found))


def bench_page_of_a_million_kernels(benchmark, sheet):
    table = ColumnTable(table_columns(sheet))
    page_s = benchmark.pedantic(
        lambda: asyncio.run(seconds_per_page(table)), rounds=1, iterations=1
    )
    benchmark.extra_info.update(n_rows=len(sheet), cpu_page_s=page_s)
    assert page_s < 0.02
