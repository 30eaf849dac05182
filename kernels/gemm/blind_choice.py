"""Time of batched products whose kernel was chosen as if there were one of them.

Tables of tuned sizes that rank kernels on single products, rocBLAS's among them, leave the batch
out of the look-up: products of heads get the small tile that spreads one product over the whole
device, and a batch that would fill the device with large tiles runs at what small tiles can be fed.
A table knows a few thousand sizes and picks the nearest, so among tiles that are about equally
good for one product its choice is open; the time is the geometric mean over them.

References
----------
Tensile (ROCm), selection among tuned sizes by distance in rows, columns and depth.
"""

from __future__ import annotations

import math

from kernels.gemm.model import (
    GemmMachine,
    GemmShape,
    drooped_s,
    memory_limit_s,
    tile_limits_s,
)
from kernels.smooth import power_mean_join

__all__ = ["blindly_chosen_gemm_s"]

TUNED_TILES = (
    (16.0, 16.0),
    (16.0, 64.0),
    (64.0, 16.0),
    (32.0, 32.0),
    (32.0, 64.0),
    (64.0, 32.0),
    (64.0, 64.0),
    (64.0, 128.0),
    (128.0, 64.0),
    (128.0, 128.0),
)
"""Rows and columns of the output tiles, down to those that suit one small product. [elements]"""

CHOICE_SPREAD = 0.15
"""A tile that is slower for one product by this fraction than the best one is chosen 1/e as often,
as fitted on the rows of an MI210. [1]"""

DEPTH_STEP = 32.0
"""Depth that one pass of a kernel's loop takes; a remainder costs a whole one. [elements]"""

LEAST_WEIGHT = 1e-3
"""Share below which a tile's time is left out of the mean. [1]"""

NEVER_S = 1.0e30
"""Longer than any kernel: start of a search for the shortest. [s]"""


def _body_s(shape: GemmShape, machine: GemmMachine, tile: tuple[float, float]) -> float:
    """Time of all products with one tile, before the launch. [s]"""
    stepped = GemmShape(
        shape.m,
        shape.n,
        -(-shape.k // DEPTH_STEP) * DEPTH_STEP,
        shape.a_element_bytes,
        shape.b_element_bytes,
        shape.c_element_bytes,
        shape.batch,
        shape.transposed_a_fraction,
        shape.transposed_b_fraction,
    )
    # Rows of such products are far shorter than the distance at which rows share channels.
    arithmetic_s, feed_s = tile_limits_s(stepped, machine, tile, 1.0, common_bytes=0.0)
    computing_s = power_mean_join(arithmetic_s, feed_s, machine.overlap_exponent)
    return drooped_s(computing_s, memory_limit_s(shape, machine), machine)


def blindly_chosen_gemm_s(shape: GemmShape, machine: GemmMachine) -> float:
    """Time of one call whose tile suits one product of its batch.

    Parameters
    ----------
    shape
        Sizes [elements] and operand widths [byte].
    machine
        Device figures and fitted parameters.

    Returns
    -------
    float
        Time of the call, droop and launch floor included. [s]

    Notes
    -----
    More products in the batch are never faster. Larger products may be, since they get larger
    tiles: 512 by 512 products over a depth of 128 run at half the rate of those over 256.
    """
    one = GemmShape(
        shape.m,
        shape.n,
        shape.k,
        shape.a_element_bytes,
        shape.b_element_bytes,
        shape.c_element_bytes,
        1.0,
        shape.transposed_a_fraction,
        shape.transposed_b_fraction,
    )
    shortest_s = NEVER_S
    for tile in TUNED_TILES:
        shortest_s = min(shortest_s, _body_s(one, machine, tile))
    weights, logs = 0.0, 0.0
    for tile in TUNED_TILES:
        lag = _body_s(one, machine, tile) / shortest_s - 1.0
        weight = math.exp(-lag / CHOICE_SPREAD)
        if weight >= LEAST_WEIGHT:
            weights += weight
            logs += weight * math.log(_body_s(shape, machine, tile))
    return math.exp(logs / weights) + machine.launch_s
