"""Which keys a query sees: all, those up to itself, or a window around itself.

Positions are aligned at the end: with fewer queries than keys the last query stands at the last
key, as when new tokens meet a cache of earlier ones. FlashAttention aligns the same way since 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CAUSAL", "FULL", "Mask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A band of the matrix of scores."""

    is_causal: bool = False
    """Whether a query sees no key behind its own position."""
    window: int | None = None
    """Distance from its position at which a query sees no key any more; 1 leaves only its own
    key, None sets no limit. [1]"""

    def __post_init__(self) -> None:
        """Refuse a window that hides everything."""
        if self.window is not None and self.window < 1:
            msg = f"window={self.window}: expected at least 1, or None for no window"
            raise ValueError(msg)

    def band(self, query_len: int, key_len: int) -> tuple[int, int]:
        """First and last visible key of query 0, before they are cut to 0 .. key_len - 1. [1].

        Those of query i lie i further. Without a limit they lie beyond every key of every query.
        """
        position, beyond = key_len - query_len, query_len + key_len
        reach = beyond if self.window is None else min(self.window - 1, beyond)
        return position - reach, position + (0 if self.is_causal else reach)

    def visible(self, query_len: int, key_len: int) -> NDArray[np.bool_]:
        """Matrix of queries and keys that is true where the query sees the key."""
        first, last = self.band(query_len, key_len)
        distance = np.arange(key_len)[np.newaxis, :] - np.arange(query_len)[:, np.newaxis]
        seen: NDArray[np.bool_] = (distance >= first) & (distance <= last)
        return seen

    def n_visible_pairs(self, query_len: int, key_len: int) -> int:
        """Pairs of a query and a key that it sees. [1]."""
        first, last = self.band(query_len, key_len)
        queries = np.arange(query_len)
        starts = np.clip(queries + first, 0, key_len)
        stops = np.clip(queries + last + 1, 0, key_len)
        return int((stops - starts).sum())


FULL = Mask()
CAUSAL = Mask(is_causal=True)
