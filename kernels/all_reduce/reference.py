"""The oracle of every collective: NumPy in float64, from all inputs to all outputs.

A rank's input is a vector. Where an operation cuts a vector into one shard per rank, it cuts as
`numpy.array_split` does: the first shards are one element longer where the ranks do not divide
the length. Libraries such as NCCL know only equal shards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["collective_reference"]

Vector = NDArray[np.floating]
Vectors = list[NDArray[np.float64]]


def collective_reference(operation: str, inputs: Sequence[Vector]) -> Vectors:
    """Output of every rank, computed in float64 whatever the type of the inputs.

    Parameters
    ----------
    operation
        ``all_reduce``: every rank holds the sum; ``all_gather``: every rank holds all inputs one
        after the other; ``reduce_scatter``: rank r holds shard r of the sum; ``all_to_all``: rank
        r holds shard r of every input; ``point_to_point``: rank r holds the input of rank r-1,
        and rank 0 that of the last.
    inputs
        Vector of each rank, all of one length n.

    Returns
    -------
    list
        Vector of each rank.

    Raises
    ------
    ValueError
        For an unknown operation, no rank, or vectors of unequal length.
    """
    if operation not in OPERATIONS:
        msg = f"operation {operation!r} is unknown; expected {', '.join(OPERATIONS)}"
        raise ValueError(msg)
    shapes = {vector.shape for vector in inputs}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        msg = f"inputs of shapes {sorted(shapes)}; expected one vector per rank, all of one length"
        raise ValueError(msg)
    return OPERATIONS[operation]([vector.astype(np.float64) for vector in inputs])


def _all_reduce(inputs: Vectors) -> Vectors:
    total = np.sum(inputs, axis=0)
    return [total.copy() for _ in inputs]


def _all_gather(inputs: Vectors) -> Vectors:
    return [np.concatenate(inputs) for _ in inputs]


def _reduce_scatter(inputs: Vectors) -> Vectors:
    return [shard.copy() for shard in np.array_split(np.sum(inputs, axis=0), len(inputs))]


def _all_to_all(inputs: Vectors) -> Vectors:
    shards = [np.array_split(vector, len(inputs)) for vector in inputs]
    return [np.concatenate(column) for column in zip(*shards, strict=True)]


def _point_to_point(inputs: Vectors) -> Vectors:
    return [inputs[rank - 1].copy() for rank in range(len(inputs))]


OPERATIONS: dict[str, Callable[[Vectors], Vectors]] = {
    "all_reduce": _all_reduce,
    "all_gather": _all_gather,
    "reduce_scatter": _reduce_scatter,
    "all_to_all": _all_to_all,
    "point_to_point": _point_to_point,
}
