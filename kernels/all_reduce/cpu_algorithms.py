"""Collectives among ranks that see each other's memory: who reads what from whom, and when.

A rank pulls: it waits until its peer's counter says that the data is there and reads it straight
from the peer's buffer into its own, which is one pass over memory where a message queue needs
two. Sums use NumPy: its add runs as fast as memory allows, and ranks need neither the second that
Numba takes to import nor compiled code.

Long messages go in slices, so that a partial sum is still in a cache when the neighbour reads it.

References
----------
P. Patarasuk, X. Yuan, J. Parallel Distrib. Comput. 69(2), 2009 (ring).
P. Sanders, J. Speck, J. L. Träff, Parallel Computing 35(12), 2009 (two trees: every rank is a
leaf in one and an inner node in the other, so that both directions of all ranks are busy).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kernels.all_reduce.shards import Shards, shards
from kernels.all_reduce.shared_region import Vector
from kernels.all_reduce.signals import READY, Signals

__all__ = ["ALGORITHMS", "Exchange", "default_algorithm"]

SLICE_BYTES = 2**20
"""Longest part of a message that one step moves: it fits a second-level cache. [byte]"""
N_TREES = 2


class Exchange(NamedTuple):
    """What one rank works with: the vectors of all ranks, and their counters."""

    rank: int
    send: Sequence[Vector]
    receive: Sequence[Vector]
    scratch: Sequence[Vector]
    signals: Signals

    @property
    def n_ranks(self) -> int:
        """Ranks of the group. [1]."""
        return len(self.send)

    @property
    def left(self) -> int:
        """Rank before this one on the ring."""
        return (self.rank - 1) % len(self.send)

    @property
    def slice_elements(self) -> int:
        """Longest slice of a message. [1]."""
        return SLICE_BYTES // self.send[0].itemsize


def ring_all_reduce(x: Exchange) -> None:
    """Sum of all vectors on all ranks: n-1 steps that add, n-1 that copy, for every slice.

    A rank replaces a partial sum n-1 steps after its neighbour could first read it. To come so
    far it has waited for n-1 ranks, each for the one before; the last of them is that neighbour,
    which has read it by then. So no rank needs to be asked whether it has read.
    """
    mine = x.receive[x.rank]
    if x.n_ranks == 1:
        np.copyto(mine, x.send[0])
        return
    cut = shards(len(mine), x.n_ranks, slice_elements=x.slice_elements)
    n_adding = x.n_ranks - 1
    for i_slice in range(cut.n_slices):
        before = READY + i_slice * 2 * n_adding
        final = mine[cut.parts[x.rank][i_slice]]
        _add_around(x, cut, i_slice, before, x.receive, final)
        for i_step in range(n_adding):
            part = cut.parts[(x.rank - i_step - 1) % x.n_ranks][i_slice]
            x.signals.wait(x.left, before + n_adding + i_step)
            np.copyto(mine[part], x.receive[x.left][part])
            x.signals.publish(before + n_adding + i_step + 1)


def ring_reduce_scatter(x: Exchange) -> None:
    """Shard r of the sum of all vectors on rank r, in n-1 steps for every slice."""
    mine = x.receive[x.rank]
    if x.n_ranks == 1:
        np.copyto(mine, x.send[0])
        return
    cut = shards(len(x.send[0]), x.n_ranks, slice_elements=x.slice_elements)
    for i_slice in range(cut.n_slices):
        before = READY + i_slice * (x.n_ranks - 1)
        final = mine[cut.local_parts[x.rank][i_slice]]
        _add_around(x, cut, i_slice, before, x.scratch, final)


def _add_around(  # noqa: PLR0917
    x: Exchange,
    cut: Shards,
    i_slice: int,
    before: int,
    partial: Sequence[Vector],
    final: Vector,
) -> None:
    """Send partial sums once around the ring; that of shard r ends on rank r, in `final`.

    `before` is the step after which this slice begins.
    """
    own = x.send[x.rank]
    n_adding = x.n_ranks - 1
    for i_step in range(n_adding):
        part = cut.parts[(x.rank - i_step - 2) % x.n_ranks][i_slice]
        source = partial if i_step else x.send
        x.signals.wait(x.left, before + i_step if i_step else READY)
        target = partial[x.rank][part] if i_step < n_adding - 1 else final
        np.add(source[x.left][part], own[part], out=target)
        x.signals.publish(before + i_step + 1)


def ring_all_gather(x: Exchange) -> None:
    """All vectors one after the other on all ranks, in n-1 steps for every slice."""
    mine = x.receive[x.rank]
    cut = shards(len(mine), x.n_ranks, slice_elements=x.slice_elements)
    np.copyto(mine[shards(len(mine), x.n_ranks).parts[x.rank][0]], x.send[x.rank])
    for i_slice in range(cut.n_slices):
        before = READY + i_slice * (x.n_ranks - 1)
        for i_step in range(x.n_ranks - 1):
            i_shard = (x.rank - i_step - 1) % x.n_ranks
            part = cut.parts[i_shard][i_slice]
            x.signals.wait(x.left, before + i_step if i_step else READY)
            if i_step:
                np.copyto(mine[part], x.receive[x.left][part])
            else:
                np.copyto(mine[part], x.send[x.left][cut.local_parts[i_shard][i_slice]])
            x.signals.publish(before + i_step + 1)


def pairwise_all_to_all(x: Exchange) -> None:
    """Shard r of every vector on rank r: a copy from each rank, each time at another distance."""
    mine = x.receive[x.rank]
    part = shards(len(x.send[0]), x.n_ranks).parts[x.rank][0]
    length = part.stop - part.start
    for distance in range(x.n_ranks):
        source = (x.rank - distance) % x.n_ranks
        x.signals.wait(source, READY)
        np.copyto(mine[source * length : (source + 1) * length], x.send[source][part])


def direct_point_to_point(x: Exchange) -> None:
    """Vector of the rank before, in one copy."""
    x.signals.wait(x.left, READY)
    np.copyto(x.receive[x.rank], x.send[x.left])


class _Tree(NamedTuple):
    """A rank's place in one of the two trees, and the counters of that tree."""

    parent: int | None
    children: tuple[int, ...]
    leaves: frozenset[int]
    """Those of the children that have no children."""
    up_lane: int
    down_lane: int


def _tree(i_tree: int, rank: int, n_ranks: int) -> _Tree:
    """A binary heap; the second tree is its mirror image, where leaves and inner nodes swap."""

    def mirrored(label: int) -> int:
        return n_ranks - 1 - label if i_tree else label

    label = mirrored(rank)
    below = [child for child in (2 * label + 1, 2 * label + 2) if child < n_ranks]
    return _Tree(
        parent=mirrored((label - 1) // 2) if label else None,
        children=tuple(mirrored(child) for child in below),
        leaves=frozenset(mirrored(child) for child in below if 2 * child + 1 >= n_ranks),
        up_lane=1 + 2 * i_tree,
        down_lane=2 + 2 * i_tree,
    )


def tree_all_reduce(x: Exchange) -> None:
    """Sum of all vectors on all ranks: half up and down one tree, half up and down its mirror.

    Slices follow each other: while one is on its way down, later ones go up.
    """
    mine = x.receive[x.rank]
    if x.n_ranks == 1:
        np.copyto(mine, x.send[0])
        return
    halves = shards(len(mine), N_TREES, slice_elements=x.slice_elements)
    n_slices = halves.n_slices
    trees = [_tree(i_tree, x.rank, x.n_ranks) for i_tree in range(N_TREES)]
    depth = x.n_ranks.bit_length() - 1
    for i_slice in range(n_slices + depth):
        for i_tree, tree in enumerate(trees):
            if i_slice < n_slices:
                _add_up(x, tree, halves.parts[i_tree][i_slice], i_slice + 1)
        for i_tree, tree in enumerate(trees):
            if i_slice >= depth:
                _copy_down(x, tree, halves.parts[i_tree][i_slice - depth], i_slice - depth + 1)


def _add_up(x: Exchange, tree: _Tree, part: slice, step: int) -> None:
    """Add the children's sums to the own vector; a leaf's vector is read by its parent."""
    total, addend = x.receive[x.rank][part], x.send[x.rank][part]
    for child in tree.children:
        if child in tree.leaves:
            x.signals.wait(child, READY)
            np.add(addend, x.send[child][part], out=total)
        else:
            x.signals.wait(child, step, lane=tree.up_lane)
            np.add(addend, x.receive[child][part], out=total)
        addend = total
    if tree.children:
        x.signals.publish(step, lane=tree.up_lane)


def _copy_down(x: Exchange, tree: _Tree, part: slice, step: int) -> None:
    """Take the result from the parent, which has read the partial sum that it replaces."""
    if tree.parent is not None:
        x.signals.wait(tree.parent, step, lane=tree.down_lane)
        np.copyto(x.receive[x.rank][part], x.receive[tree.parent][part])
    if tree.children:
        x.signals.publish(step, lane=tree.down_lane)


ALGORITHMS: dict[tuple[str, str], Callable[[Exchange], None]] = {
    ("all_reduce", "ring"): ring_all_reduce,
    ("all_reduce", "tree"): tree_all_reduce,
    ("all_gather", "ring"): ring_all_gather,
    ("reduce_scatter", "ring"): ring_reduce_scatter,
    ("all_to_all", "pairwise"): pairwise_all_to_all,
    ("point_to_point", "direct"): direct_point_to_point,
}
"""By operation and algorithm."""


def default_algorithm(operation: str) -> str:
    """First algorithm of an operation; empty where there is none."""
    return next((name for known, name in ALGORITHMS if known == operation), "")
