"""How operations cut vectors into shards, and how long their results are."""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

__all__ = ["Shards", "output_elements", "shards"]


class Shards(NamedTuple):
    """A vector cut into one shard per rank, the first ones longer, and each shard into slices."""

    parts: tuple[tuple[slice, ...], ...]
    """By shard and slice: elements within the vector."""
    local_parts: tuple[tuple[slice, ...], ...]
    """The same elements within the shard."""

    @property
    def n_slices(self) -> int:
        """Slices of each shard; short shards have empty ones. [1]."""
        return len(self.parts[0])

    def n_elements(self, i_shard: int) -> int:
        """Length of a shard. [1]."""
        slices = self.parts[i_shard]
        return int(slices[-1].stop - slices[0].start)


# Cut once and not in every round: to cut takes longer than to exchange a short message.
@functools.lru_cache(maxsize=64)
def shards(n_elements: int, n_shards: int, *, slice_elements: int = 0) -> Shards:
    """Cut a vector as `numpy.array_split` does, and each shard into equal slices.

    Parameters
    ----------
    n_elements
        Length of the vector. [1]
    n_shards
        Shards, at least 1. [1]
    slice_elements
        Longest slice; 0 leaves shards whole. [1]

    Returns
    -------
    Shards
        Every shard has the same number of slices.
    """
    least, n_longer = divmod(n_elements, n_shards)
    starts = [i_shard * least + min(i_shard, n_longer) for i_shard in range(n_shards + 1)]
    longest = least + (n_longer > 0)
    n_slices = max(1, -(-longest // slice_elements)) if slice_elements else 1
    local = tuple(
        tuple(
            slice(length * i_slice // n_slices, length * (i_slice + 1) // n_slices)
            for i_slice in range(n_slices)
        )
        for length in (stop - start for start, stop in itertools.pairwise(starts))
    )
    parts = tuple(
        tuple(slice(start + part.start, start + part.stop) for part in slices)
        for start, slices in zip(starts, local, strict=False)
    )
    return Shards(parts, local)


def output_elements(operation: str, n_elements: int, *, rank: int, n_ranks: int) -> int:
    """Length of a rank's result, given that of every rank's input. [1]."""
    shard_elements = shards(n_elements, n_ranks).n_elements(rank)
    if operation == "all_gather":
        return n_elements * n_ranks
    if operation == "reduce_scatter":
        return shard_elements
    if operation == "all_to_all":
        return n_ranks * shard_elements
    return n_elements
