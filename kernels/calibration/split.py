"""Which rows are set aside: by key, never by row, and the same keys on every device.

Neighbouring rows differ only in the number of tokens, and the same shape stands in a table once
per library. A split by row would therefore test on what was fitted.
"""

from __future__ import annotations

import hashlib

__all__ = ["HELDOUT_PARTS", "is_heldout"]

HELDOUT_PARTS = 5
"""One key out of this many is set aside. [1]"""


def is_heldout(family: str, key: tuple[object, ...]) -> bool:
    """Whether all rows with this key are set aside for judging a fit.

    Parameters
    ----------
    family
        Name of the kernel family; keeps the splits of families independent.
    key
        What identifies a shape: (n, k) of a weight, (heads, KV heads, head dim) of attention,
        (device, operation, ranks, nodes, library) of a
        collective.

    Returns
    -------
    bool
        The same answer on every machine and in every run.
    """
    text = ":".join((family, *(str(part) for part in key)))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELDOUT_PARTS == 0
