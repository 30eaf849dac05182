"""What each rank does in tests on GPUs; spawned processes import it."""

from __future__ import annotations

import numpy as np

from kernels.all_reduce.bootstrap import Rendezvous
from kernels.all_reduce.gpu import NcclRank, identifier_bytes, require_nccl
from kernels.all_reduce.peers import PeerOptions, PeerRank
from tests.kernels.gpu.emulation import stored

__all__ = ["LENGTHS", "nccl_inputs", "nccl_rank", "peer_input", "peer_rank"]

LENGTHS = (1, 5000, 7, 2**18 + 3, 64, 2**20)
N_REPEATS = 50
"""Calls in a row of each length, so that ranks run ahead of each other."""


def nccl_inputs(n_ranks):
    random = np.random.default_rng(21)
    return [random.standard_normal(1000 * n_ranks).astype(np.float32) for _ in range(n_ranks)]


def nccl_rank(operation, world, listener):
    _, nccl = require_nccl()
    make = lambda: identifier_bytes(nccl)  # noqa: E731
    with (
        Rendezvous(world, make, listener=listener) as meeting,
        NcclRank(meeting, device_index=world.rank) as rank,
    ):
        return rank.run(operation, nccl_inputs(world.n_ranks)[world.rank])


def peer_input(rank, length):
    return np.random.default_rng((rank, length)).standard_normal(length).astype(np.float32)


def peer_rank(dtype, algorithm, world, listener):
    import cupy

    found = []
    options = PeerOptions(most_bytes=2**22)
    with (
        Rendezvous(world, lambda: b"", listener=listener) as meeting,
        PeerRank(meeting, device_index=world.rank, options=options) as peers,
    ):
        for length in LENGTHS:
            x = cupy.asarray(stored(peer_input(world.rank, length), dtype))
            outs = [cupy.zeros_like(x) for _ in range(2)]
            for i in range(N_REPEATS):
                peers.all_reduce(x, outs[i % 2], algorithm=algorithm)
            shared = peers.shared_array(length, str(x.dtype))
            shared[...] = x
            direct = peers.all_reduce(shared, algorithm=algorithm)
            cupy.cuda.get_current_stream().synchronize()
            peers.check()
            assert (outs[0] == outs[1]).all()
            assert (outs[0] == direct).all()
            found.append(cupy.asnumpy(direct))
    return found
