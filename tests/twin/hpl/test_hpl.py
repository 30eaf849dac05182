"""HPL: limits, what each figure does, and that a fit finds the constants that made the data."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.hpl.cases import hpl_machine, system
from tests.twin.machines import machine
from twin.hpl import hpl_constants, hpl_power, hpl_run
from twin.hpl.fit import HplCase, fitted_constants, predicted
from twin.hpl.machine import HplError, hpl_system
from twin.hpl.model import hpl_flop, matrix_rows

CONSTANTS = hpl_constants()


@given(n_nodes=st.integers(1, 20_000), cap_w=st.floats(250.0, 700.0))
@settings(max_examples=40)
def test_a_run_is_slower_than_its_updates_and_below_the_peak(n_nodes, cap_w):
    where = system(n_nodes=n_nodes, power_cap_w=cap_w)
    run = hpl_run(where, CONSTANTS)
    beside_s = run.panel_s + run.exchange_s
    assert run.update_s < run.time_s < run.update_s + beside_s
    assert run.time_s > beside_s
    assert run.flop_per_s < where.n_devices * where.peak_fp64_flop_per_s
    assert run.flop_per_s == pytest.approx(hpl_flop(run.n_rows) / run.time_s)
    assert 0.3 <= run.clock_fraction <= 1.0


def test_the_matrix_fills_its_share_of_the_memory():
    where = system(n_nodes=100)
    n_rows = matrix_rows(where, CONSTANTS)
    share = CONSTANTS.memory_fraction * where.n_devices * where.memory_bytes
    assert 8.0 * n_rows**2 == pytest.approx(share)


@pytest.mark.parametrize("n_nodes", [2, 10, 100, 1000])
def test_twice_the_nodes_give_more_but_less_than_twice(n_nodes):
    one, two = (hpl_run(system(n_nodes=n), CONSTANTS) for n in (n_nodes, 2 * n_nodes))
    assert one.flop_per_s < two.flop_per_s < 2.0 * one.flop_per_s


@pytest.mark.parametrize(
    "better",
    [{"capacity": 160e9}, {"bandwidth": 6e12}, {"tdp_w": 900.0}],
    ids=["memory", "bandwidth", "limit"],
)
def test_a_better_device_is_never_slower(better):
    plain, other = (hpl_run(system(**figures), CONSTANTS) for figures in ({}, better))
    assert other.flop_per_s >= plain.flop_per_s


def test_a_faster_network_helps_and_one_node_does_not_need_it():
    slow, fast = (
        hpl_run(system()._replace(network_bytes_per_s=rate), CONSTANTS) for rate in (5e9, 5e10)
    )
    assert slow.flop_per_s < fast.flop_per_s
    link = hpl_machine().accelerator.link.bandwidth_bytes_per_s
    assert system(n_nodes=1).network_bytes_per_s == link


def test_a_lower_cap_draws_less_and_does_more_per_joule():
    machine_ = hpl_machine()
    found = []
    for cap_w in (700.0, 400.0):
        where = system(power_cap_w=cap_w)
        run = hpl_run(where, CONSTANTS)
        power = hpl_power(machine_, where, run, CONSTANTS, n_nodes=64)
        assert power.device.total_w <= cap_w * 1.005
        found.append((power.system_w, run.flop_per_s / power.system_w))
    assert found[1][0] < found[0][0]
    assert found[1][1] > found[0][1]


def test_power_adds_up():
    machine_, where = hpl_machine(), system()
    power = hpl_power(machine_, where, hpl_run(where, CONSTANTS), CONSTANTS, n_nodes=64)
    assert power.system_w == pytest.approx(64 * power.node.inlet_w + power.network_w)
    assert power.node.devices_w == pytest.approx(8 * power.device.total_w)


def test_the_slower_units_serve_where_there_are_no_matrix_units():
    assert system().peak_fp64_flop_per_s == 60e12
    with pytest.raises(HplError, match="round-100: the profile states no fp64 peak"):
        hpl_system(machine(), n_nodes=4, power_cap_w=None)


def test_a_fit_finds_the_constants_that_made_the_figures():
    truth = CONSTANTS._replace(fp64_energy_ratio=9.0, exposed_fraction=0.4)
    cases = []
    for n_nodes, cap_w in ((50, 700.0), (500, 400.0), (5000, 300.0)):
        case = HplCase(
            machine=hpl_machine(),
            system=system(n_nodes=n_nodes, power_cap_w=cap_w),
            n_nodes=n_nodes,
            flop_per_s=None,
            power_w=None,
            power_spread_fraction=0.1,
            is_power_assumed=False,
        )
        run, power = predicted(case, truth)
        figures = {"flop_per_s": run.flop_per_s, "power_w": power.system_w}
        cases.append(HplCase(**{**_fields(case), **figures}))
    found = fitted_constants(cases, CONSTANTS)
    assert math.isclose(found.fp64_energy_ratio, 9.0, rel_tol=0.05)
    assert math.isclose(found.exposed_fraction, 0.4, abs_tol=0.04)
    assert found.n_block_rows == CONSTANTS.n_block_rows


def _fields(case):
    return {name: getattr(case, name) for name in HplCase.__dataclass_fields__}
