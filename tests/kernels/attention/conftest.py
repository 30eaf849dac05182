"""Random operands for the attention kernels."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def random_heads():
    """Return q, k, v and a gradient by the output, from a normal distribution."""

    def make(*, heads=1, kv_heads=1, query_len, key_len, head_dim, batch=1, dtype="f4", seed=0):
        random = np.random.default_rng(seed)
        of_query = (batch, heads, query_len, head_dim)
        of_key = (batch, kv_heads, key_len, head_dim)
        shapes = (of_query, of_key, of_key, of_query)
        return tuple(random.standard_normal(shape).astype(dtype) for shape in shapes)

    return make
