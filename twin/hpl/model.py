"""Time of HPL: blocked LU factorisation with look-ahead, all data in device memory.

The matrix fills a share of the memory and lies block-cyclic on a square grid of devices. For each
block of columns, the update of what remains is matrix products on all devices; factoring the next
panel, broadcasting it along rows and swapping rows along columns run beside it. Where they take
longer than the update, which they do near the end, they set the pace; where they are shorter, a
share of them shows all the same. The clock is the one that the power cap leaves to the products.

References
----------
A. Petitet, R. C. Whaley, J. Dongarra, A. Cleary, HPL, netlib.org/benchmark/hpl, "HPL Scalability
Analysis": operations and messages of panel, broadcast and update.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from kernels.smooth import power_mean_join
from twin.energy.clock import ComputeWork, PowerMachine, sustained_clock
from twin.hpl.constants import HplConstants

__all__ = ["HplRun", "HplSystem", "hpl_run", "matrix_rows"]

FP64_BYTES = 8.0
UPDATE_PASSES = 2.0
"""The remaining matrix is read and written once in each update. [1]"""

SWAP_MESSAGES = 3.0
"""Rows of a block that swapping and gathering move, over those of the block itself: the bandwidth
term of HPL's update. [1]"""

N_SAMPLES = 48
"""Sizes of the remaining matrix at which the time of a block is evaluated. [1]"""

JOIN_EXPONENT = 6.0
"""Smooth maximum of arithmetic and memory traffic. [1]"""


class HplSystem(NamedTuple):
    """Figures of a machine that HPL depends on, per device where not said otherwise."""

    n_devices: int
    peak_fp64_flop_per_s: float
    """Dense peak of the fastest fp64 units. [flop/s]"""
    memory_bytes: float
    memory_bandwidth_bytes_per_s: float
    n_devices_per_node: int
    """Devices that share network cards; 1 where all devices are linked directly. [1]"""
    network_bytes_per_s: float
    """Share of the node's network cards that large messages reach, one direction; that of the
    links inside a single node. [byte/s]"""
    power_cap_w: float
    power: PowerMachine


class HplRun(NamedTuple):
    """One predicted run."""

    n_rows: float
    """Rows of the matrix. [1]"""
    time_s: float
    flop_per_s: float
    """Rate of the whole machine as HPL counts it. [flop/s]"""
    clock_fraction: float
    product_flop_per_s: float
    """Rate of the update's products on one device. [flop/s]"""
    update_s: float
    """Time of all updates by themselves. [s]"""
    panel_s: float
    """Time of all panels by themselves, hidden or not. [s]"""
    exchange_s: float
    """Time of all broadcasts and swaps by themselves, hidden or not. [s]"""
    hbm_bytes: float
    """Memory traffic of the updates of one device. [byte]"""
    link_bytes: float
    """Bytes that one device sends. [byte]"""

    @property
    def exposed_s(self) -> float:
        """Time beyond that of the updates. [s]"""
        return self.time_s - self.update_s


class _Block(NamedTuple):
    """Times and traffic of one block of columns."""

    update_s: float
    panel_s: float
    exchange_s: float
    hbm_bytes: float
    link_bytes: float


def matrix_rows(system: HplSystem, constants: HplConstants) -> float:
    """Rows of the largest matrix that fits the share of memory given to it. [1]"""
    share_bytes = constants.memory_fraction * system.memory_bytes
    return math.sqrt(system.n_devices * share_bytes / FP64_BYTES)


def hpl_flop(n_rows: float) -> float:
    """Operations that HPL counts for a matrix of this many rows. [flop]"""
    return 2.0 / 3.0 * n_rows**3 + 1.5 * n_rows**2


def _update_s(
    flop: float, hbm_bytes: float, clock_fraction: float, system: HplSystem, rate_fraction: float
) -> float:
    """Products of an update: arithmetic follows the clock, memory does not. [s]"""
    arithmetic_s = flop / (rate_fraction * system.peak_fp64_flop_per_s * clock_fraction)
    memory_s = hbm_bytes / system.memory_bandwidth_bytes_per_s
    return power_mean_join(arithmetic_s, memory_s, JOIN_EXPONENT)


def _update_work(remaining: float, side: float, block: float) -> tuple[float, float]:
    """Operations and memory traffic of an update on one device. [flop], [byte]"""
    rows = remaining / side
    flop = 2.0 * block * rows * rows + block * block * rows
    hbm_bytes = FP64_BYTES * (UPDATE_PASSES * rows * rows + 2.0 * block * rows)
    return flop, hbm_bytes


def _sustained(system: HplSystem, constants: HplConstants, n_rows: float) -> float:
    """Clock that the cap leaves to the largest update. [1]"""
    side = math.sqrt(system.n_devices)
    flop, hbm_bytes = _update_work(n_rows, side, constants.n_block_rows)
    work = ComputeWork(constants.fp64_energy_ratio * flop, hbm_bytes)
    rate = constants.product_efficiency_fraction

    def time_s(clock_fraction: float) -> float:
        return _update_s(flop, hbm_bytes, clock_fraction, system, rate)

    return sustained_clock(work, time_s, power_cap_w=system.power_cap_w, machine=system.power)


def _block(
    remaining: float, system: HplSystem, constants: HplConstants, clock_fraction: float
) -> _Block:
    """One block of columns while this many rows and columns remain."""
    side = math.sqrt(system.n_devices)
    block = constants.n_block_rows
    rows = remaining / side
    flop, hbm_bytes = _update_work(remaining, side, block)
    update_s = _update_s(
        flop, hbm_bytes, clock_fraction, system, constants.product_efficiency_fraction
    )
    # A column of devices factors the panel; every row of it asks the column for a pivot.
    pivots_s = block * math.log2(max(side, 2.0)) * constants.pivot_latency_s
    # Elimination in a panel streams what is left of it.
    panel_bytes = FP64_BYTES * rows * block * constants.panel_passes
    panel_s = pivots_s + panel_bytes / system.memory_bandwidth_bytes_per_s
    # The devices of a node are a square of the grid: what goes along its rows or columns enters
    # and leaves the node once for all of them.
    node_side = math.sqrt(system.n_devices_per_node)
    sent_bytes = FP64_BYTES * block * rows * (1.0 + SWAP_MESSAGES) / node_side
    exchange_s = sent_bytes / system.network_bytes_per_s
    return _Block(update_s, panel_s, exchange_s, hbm_bytes, sent_bytes)


def hpl_run(system: HplSystem, constants: HplConstants) -> HplRun:
    """Predict one run of HPL on all devices of a system."""
    n_rows = matrix_rows(system, constants)
    clock = _sustained(system, constants, n_rows)
    n_blocks = n_rows / constants.n_block_rows
    weight = n_blocks / N_SAMPLES
    time_s = update_s = panel_s = exchange_s = hbm_bytes = link_bytes = 0.0
    for i in range(N_SAMPLES):
        remaining = n_rows * (1.0 - (i + 0.5) / N_SAMPLES)
        block = _block(remaining, system, constants, clock)
        beside_s = block.panel_s + block.exchange_s
        shorter_s = min(block.update_s, beside_s)
        time_s += weight * (max(block.update_s, beside_s) + constants.exposed_fraction * shorter_s)
        update_s += weight * block.update_s
        panel_s += weight * block.panel_s
        exchange_s += weight * block.exchange_s
        hbm_bytes += weight * block.hbm_bytes
        link_bytes += weight * block.link_bytes
    first_flop, _bytes = _update_work(n_rows, math.sqrt(system.n_devices), constants.n_block_rows)
    return HplRun(
        n_rows=n_rows,
        time_s=time_s,
        flop_per_s=hpl_flop(n_rows) / time_s,
        clock_fraction=clock,
        product_flop_per_s=first_flop / _block(n_rows, system, constants, clock).update_s,
        update_s=update_s,
        panel_s=panel_s,
        exchange_s=exchange_s,
        hbm_bytes=hbm_bytes,
        link_bytes=link_bytes,
    )
