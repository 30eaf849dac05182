"""How long one redraw takes: charts at 160 x 48 cells, and a page of a table of a million rows.

Budgets: scatter of 100 000 points at most 15 ms, a page at most 20 ms of CPU time.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from textual.app import App, ComposeResult

from tui.charts.axes import Axis
from tui.charts.line import LineChart, Series, line_chart
from tui.charts.picture import Size, Style
from tui.charts.scatter import Scatter, scatter
from tui.widgets.column_table import Column, ColumnTable

SIZE = Size(width=160, height=48)
X = Axis(name="energy", unit="J", better="lower")
Y = Axis(name="speed", unit="token/s", better="higher")
N_PAGES = 20


@pytest.mark.parametrize("n_points", [1_000, 100_000, 1_000_000])
def bench_scatter(benchmark, n_points):
    rng = np.random.default_rng(1)
    x_values, y_values = rng.normal(size=(2, n_points))
    is_front = np.arange(n_points) < 30
    chart = Scatter(x=X, y=Y, x_values=x_values, y_values=y_values, is_front=is_front)
    benchmark.extra_info.update(n_points=n_points, width=SIZE.width, height=SIZE.height)
    benchmark(scatter, chart, size=SIZE, style=Style())


@pytest.mark.parametrize("n_points", [288, 8_760])
def bench_line_with_band(benchmark, n_points):
    x = tuple(float(i_point) for i_point in range(n_points))
    y = tuple(np.sin(np.arange(n_points) / 20).tolist())
    series = Series(
        name="a", x=x, y=y, low=tuple(v - 0.1 for v in y), high=tuple(v + 0.1 for v in y)
    )
    benchmark.extra_info.update(n_points=n_points, width=SIZE.width, height=SIZE.height)
    benchmark(line_chart, LineChart(x=X, y=Y, series=(series,)), size=SIZE, style=Style())


class Host(App[None]):
    def __init__(self, table: ColumnTable) -> None:
        super().__init__()
        self.table = table

    def compose(self) -> ComposeResult:
        yield self.table


async def page_cpu_s(n_rows: int) -> float:
    """CPU time of one page down with all its lines, mean of many. [s]"""
    values = np.random.default_rng(1).normal(size=n_rows)
    table = ColumnTable(
        tuple(
            Column(key=str(i), title=f"c{i}", values=values, shown="{:.4g}".format)
            for i in range(12)
        )
    )
    async with Host(table).run_test(size=(SIZE.width, SIZE.height)):
        start_s = time.process_time()
        for _ in range(N_PAGES):
            table.action_page(2)
            for y in range(SIZE.height):
                table.render_line(y)
        return (time.process_time() - start_s) / N_PAGES


def bench_page_of_a_million_rows(benchmark):
    n_rows = 1_000_000
    page_s = benchmark.pedantic(lambda: asyncio.run(page_cpu_s(n_rows)), rounds=3)
    benchmark.extra_info.update(n_rows=n_rows, n_columns=12, cpu_s_per_page=page_s)


@pytest.mark.parametrize("is_descending", [False, True])
def bench_sort_of_a_million_rows(benchmark, is_descending):
    values = np.random.default_rng(1).normal(size=1_000_000)
    table = ColumnTable((Column(key="v", title="v", values=values),))
    benchmark.extra_info.update(n_rows=len(values))
    benchmark(table.sort_by, "v", is_descending=is_descending)
