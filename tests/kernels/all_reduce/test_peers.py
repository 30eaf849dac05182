"""Our own all-reduce kernels from the call to the sum: ranks that read each other's memory.

The host plays the GPUs: the very kernels run on it, all blocks of all ranks under way together.
"""

from __future__ import annotations

import socket

import numpy as np
import pytest

from kernels.all_reduce import gpu as timed
from kernels.all_reduce import peer_memory
from kernels.all_reduce.bootstrap import LOOPBACK, Rendezvous, World
from kernels.all_reduce.gpu_tasks import GpuTask
from kernels.all_reduce.peer_model import PeerLimits
from kernels.all_reduce.peers import PeerOptions, PeerRank
from kernels.all_reduce.reference import collective_reference
from kernels.all_reduce.sources import peer_entry_name
from kernels.backends import BackendError
from kernels.gemm.reference import relative_error_fraction
from tests.kernels.all_reduce.played_gpus import PlayedMachine, PlayedMeeting
from tests.kernels.gpu.emulated_ranks import EmulatedRanks, Run
from tests.kernels.gpu.emulation import find_compiler, loaded, round_to, stored

TOLERANCE = {"bf16": 1e-2, "fp16": 2e-3, "fp32": 1e-5}
ALGORITHMS = ("one_shot", "two_shot")
NAMES = tuple(
    peer_entry_name(algorithm, dtype, n_ranks)
    for algorithm in ALGORITHMS
    for dtype, n_ranks in (("fp32", 2), ("fp32", 4), ("fp32", 8), ("bf16", 4), ("fp16", 8))
)
OPTIONS = PeerOptions(most_bytes=2**15, limits=PeerLimits(2**10, 2**15))
# Short of a chunk, whole chunks, one to three blocks by turns, shards that are empty.
LENGTHS = (5, 300, 1, 263, 64, 777, 131)
pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    return EmulatedRanks(tmp_path_factory.mktemp("peers"), names=NAMES)


@pytest.fixture
def machine(monkeypatch):
    return lambda n_ranks: PlayedMachine(n_ranks, monkeypatch)


class Sums:
    """Random inputs of all ranks for calls in a row, their sums queued, and the truth."""

    def __init__(self, played, dtype, seed):
        self.played, self.dtype, self.random = played, dtype, np.random.default_rng(seed)
        self.queued = []

    def draw(self, length):
        values = self.random.standard_normal((self.played.n_ranks, length)).astype(np.float32)
        return values, collective_reference("all_reduce", list(round_to(values, self.dtype)))[0]

    def queue(self, length, algorithm, *, offset=0, in_place=False):
        values, truth = self.draw(length)
        outs = []
        for rank, gpu, own in zip(self.played.ranks, self.played.gpus, values, strict=True):
            x = gpu.array(stored(own, self.dtype), offset=offset)
            out = x if in_place else gpu.empty_like(x, offset=2 * offset)
            outs.append(rank.all_reduce(x, out, algorithm=algorithm))
        self.queued.append((outs, truth))

    def check(self):
        for outs, truth in self.queued:
            found = [loaded(np.asarray(out), self.dtype) for out in outs]
            assert relative_error_fraction(found[0], truth) < TOLERANCE[self.dtype]
            for other in outs[1:]:
                assert np.array_equal(np.asarray(other), np.asarray(outs[0]))


@pytest.mark.parametrize(
    ("n_ranks", "dtype"), [(2, "fp32"), (3, "bf16"), (4, "fp32"), (5, "fp16"), (8, "fp32")]
)
@pytest.mark.parametrize("are_stores_late", [True, False])
def test_all_ranks_get_the_same_sum_call_after_call(
    machine, emulated, n_ranks, dtype, are_stores_late
):
    played = machine(n_ranks)
    played.start(OPTIONS)
    for seed in range(2):
        sums = Sums(played, dtype, seed)
        for i, length in enumerate(LENGTHS):
            sums.queue(length, ALGORITHMS[(i + seed) % 2])
        assert played.run(emulated, Run(seed, are_stores_late))
        sums.check()


def test_handles_go_round_over_tcp(machine, emulated):
    played = machine(3)
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]

        def body(index, gpu):
            world = World(rank=index, n_ranks=3, port=port, time_limit_s=20.0)
            own = listener if index == 0 else None
            with (
                Rendezvous(world, lambda: b"", listener=own) as meeting,
                PeerRank(meeting, device_index=index, options=OPTIONS) as rank,
            ):
                out = rank.all_reduce(gpu.array(np.full(9, index + 1.0, np.float32)))
                meeting.barrier()
                if index == 0:
                    assert played.run(emulated)
                meeting.barrier()
                return list(out)

        assert played.together(body) == [[6.0] * 9] * 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_arrays_may_begin_anywhere_and_be_their_own_result(machine, emulated, algorithm):
    played = machine(4)
    played.start(OPTIONS)
    sums = Sums(played, "bf16", 3)
    for offset in (1, 0):
        for in_place in (False, True):
            sums.queue(999, algorithm, offset=offset, in_place=in_place)
    assert played.run(emulated)
    sums.check()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_shared_arrays_are_read_in_place_and_may_change_after_each_call(
    machine, emulated, algorithm
):
    played = machine(4)
    ranks = played.start(OPTIONS)
    shared = played.together(lambda rank, _gpu: ranks[rank].shared_array(1003, "float32"))
    for seed in range(3):
        sums = Sums(played, "fp32", seed)
        for i in range(6):
            values, truth = sums.draw(1003)
            outs = []
            for rank, gpu in enumerate(played.gpus):
                gpu.queue_copy(shared[rank], gpu.array(values[rank]))
                out = shared[rank] if i == 5 else None
                outs.append(ranks[rank].all_reduce(shared[rank], out, algorithm=algorithm))
            sums.queued.append((outs, truth))
        is_direct = [call.arguments["is_direct"] for call in played.gpus[0].stream[1::2]]
        assert is_direct == [1, 1, 1, 1, 1, int(algorithm == "two_shot")]
        assert played.run(emulated, Run(seed, are_stores_late=seed % 2 == 0))
        sums.check()


def test_a_rank_that_does_not_come_is_named_and_nobody_waits_for_ever(machine, emulated):
    played = machine(4)
    ranks = played.start(OPTIONS._replace(most_looks=50))
    sums = Sums(played, "fp32", 4)
    sums.queue(64, "one_shot")
    sums.queue(64, "two_shot")
    played.gpus[2].stream.clear()
    assert played.run(emulated, Run(5, are_stores_late=True, most_idle_rounds=1000))
    with pytest.raises(BackendError, match="rank 2 of 4 did not come to an all-reduce within 50"):
        ranks[0].check()
    with pytest.raises(BackendError, match="results since then are worthless"):
        ranks[1].all_reduce(played.gpus[1].array(np.ones(3, np.float32)))


def test_a_captured_graph_runs_again_and_again(machine, emulated):
    """What a launch was given stays the same; all that changes is counted on the device."""
    played = machine(4)
    played.start(OPTIONS)
    sums = Sums(played, "fp32", 6)
    for length, algorithm in zip(LENGTHS, ALGORITHMS * 4, strict=False):
        sums.queue(length, algorithm)
    for gpu in played.gpus:
        gpu.stream *= 3
    assert played.run(emulated)
    sums.check()


def test_the_size_of_a_message_chooses_the_algorithm(machine):
    played = machine(2)
    first, _ = played.start(OPTIONS)
    names = []
    for n in (256, 257, 2**13):
        first.all_reduce(played.gpus[0].array(np.ones(n, np.float32)))
        names.append(played.gpus[0].stream[-1].entry)
    assert names == ["one_shot_fp32_2", "two_shot_fp32_2", "two_shot_fp32_2"]
    assert first.algorithm_for(2**15 + 1) == "vendor"
    with pytest.raises(BackendError, match="message of 32772 bytes; our own kernels take up to"):
        first.all_reduce(played.gpus[0].array(np.ones(2**13 + 1, np.float32)))
    assert first.all_reduce(played.gpus[0].array(np.ones(0, np.float32))).size == 0


def test_all_memory_is_given_back_once_nobody_has_it_open(machine):
    played = machine(3)
    ranks = played.start(OPTIONS)
    played.together(lambda rank, _gpu: ranks[rank].shared_array(8, "float16"))
    assert [len(gpu.memory) for gpu in played.gpus] == [2, 2, 2]
    assert played.together(lambda rank, _gpu: ranks[rank].close()) == [None] * 3
    assert not any(gpu.memory or gpu.opened for gpu in played.gpus)


def test_blocks_are_as_many_as_the_smallest_device_runs_at_once(machine):
    played = machine(2)
    played.n_units = [132, 1]
    for rank, gpu in zip(played.start(OPTIONS), played.gpus, strict=True):
        rank.all_reduce(gpu.array(np.ones(8000, np.float32)))
        assert gpu.stream[-1].n_blocks == 1


class PlayedNccl:
    def __init__(self, *_, **__):
        pass

    def __exit__(self, *_):
        pass

    def time(self, task):
        return f"nccl {task.message_bytes}"


def test_tasks_are_timed_by_the_algorithm_that_they_name(machine, emulated, monkeypatch):
    played = machine(2)
    played.emulated = emulated
    monkeypatch.setattr(timed, "NcclRank", PlayedNccl)
    tasks = (
        GpuTask("all_reduce", 1000, n_rounds=2),
        GpuTask("all_reduce", 1000, "float32", 3, "two_shot"),
        GpuTask("all_reduce", 1000, "float32", 2, "auto"),
        GpuTask("all_reduce", 2**26, "float32", 2, "auto"),
        GpuTask("all_reduce", 1000, "float32", 2, "one_shot", rounds_per_graph=4),
    )

    def body(index, _gpu):
        meeting = PlayedMeeting(index, played)
        with timed.GpuRank(meeting, device_index=index, most_bytes=2**15) as rank:
            return [rank.time(task) for task in tasks]

    own, others = played.together(body)
    assert own == others
    assert (own[0], own[3]) == ("nccl 1000", f"nccl {2**26}")
    assert [(times.algorithm, times.message_bytes) for times in own[1:3]] == [
        ("two_shot", 1000),
        ("one_shot", 1000),
    ]
    assert own[1].times_s == (2e-3, 2e-3, 2e-3)  # the slower of both
    assert own[4].times_s == (5e-4, 5e-4)  # of four rounds in a graph


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda played: played.without_access.add((1, 0)), "they have no peer access"),
        (lambda played: played.bus.__setitem__(1, played.bus[0]), "it is on the same GPU"),
        (lambda played: played.cannot_open.add(1), "rank 1 cannot open the memory of rank 0"),
    ],
)
def test_ranks_that_cannot_reach_each_other_all_say_so_in_one_line(machine, spoil, what):
    played = machine(3)
    spoil(played)
    errors = played.start(OPTIONS)
    assert all(isinstance(error, BackendError) for error in errors)
    assert what in str(errors[1])
    assert "rank 1" in str(errors[2]) or "rank 0" in str(errors[2])
    assert not any("\n" in str(error) for error in errors)


def test_ranks_on_other_machines_are_refused(machine, monkeypatch):
    played = machine(2)
    monkeypatch.setattr(peer_memory, "_machine", lambda: str(played.own.gpu.index))
    assert "is on another machine" in str(played.start(OPTIONS)[0])


def test_what_cannot_be_summed_is_refused(machine):
    played = machine(2)
    first, _ = played.start(OPTIONS)
    x = played.gpus[0].array(np.ones(64, np.float32))
    with pytest.raises(ValueError, match="expected one shape and one type"):
        first.all_reduce(x, x[:3])
    with pytest.raises(ValueError, match="x is float64"):
        first.all_reduce(x.astype(np.float64))
    with pytest.raises(ValueError, match="expected contiguous"):
        first.all_reduce(x[::2], x[1::2])
    with pytest.raises(ValueError, match="overlap by 8 bytes"):
        first.all_reduce(x[:10], x[8:18])
    with pytest.raises(ValueError, match="algorithm 'ring' is unknown"):
        first.all_reduce(x, algorithm="ring")


def test_ranks_that_were_given_other_room_all_say_so(machine):
    played = machine(2)

    def body(index, _gpu):
        options = OPTIONS._replace(most_bytes=1000 + index)
        return PeerRank(PlayedMeeting(index, played), device_index=index, options=options)

    for error in played.together(body):
        assert "most_bytes and most_blocks differ between ranks: [(1000.0, 64.0)" in str(error)


@pytest.mark.parametrize("n_ranks", [1, 9])
def test_other_numbers_of_ranks_are_refused(machine, n_ranks):
    assert "for 2 to 8" in str(machine(n_ranks).start(OPTIONS)[0])
