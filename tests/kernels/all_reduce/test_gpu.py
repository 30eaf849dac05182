"""What can be known of collectives on GPUs without one: the calls, and what is said is missing."""

import functools
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.all_reduce import gpu
from kernels.all_reduce.bootstrap import BootstrapError
from kernels.all_reduce.gpu import (
    GpuTask,
    communicator,
    identifier_bytes,
    require_nccl,
    task_elements,
)
from kernels.all_reduce.gpu_table import Setting, table
from kernels.all_reduce.local_ranks import run_local_ranks
from kernels.all_reduce.nccl_operations import (
    CALLS,
    DeviceBuffers,
    enqueue,
    require_equal_shards,
)
from kernels.all_reduce.peers import ALGORITHMS
from kernels.all_reduce.reference import collective_reference
from kernels.all_reduce.round_times import RoundTimes
from kernels.backends import BackendError
from kernels.gemm.reference import relative_error_fraction
from kernels.importers.request import ImportRequest
from kernels.importers.tidy import read_tidy
from kernels.libraries import implementation
from tests.kernels.all_reduce.gpu_ranks import (
    LENGTHS,
    nccl_inputs,
    nccl_rank,
    peer_input,
    peer_rank,
)
from tests.kernels.gpu.emulation import loaded, round_to

FLOAT64 = 8
TOLERANCE = {"bf16": 1e-2, "fp16": 2e-3, "fp32": 1e-5}
STREAM = 77
SEND, RECEIVE = 2**20, 2**21
"""Addresses of the buffers, the same on every rank, as processes may have them."""


class PlayedLibrary:
    """Plays NCCL for all ranks: it notes every rank's calls and then does what they ask for."""

    NCCL_SUM = 0

    def __init__(self, inputs, lengths):
        self.send_memory = inputs
        self.receive_memory = [np.full(length, np.nan) for length in lengths]
        self.in_flight = {}  # (source, target): messages in order
        self.expected = []
        self.whole = []
        self.depth = 0

    def groupStart(self):
        self.depth += 1

    def groupEnd(self):
        self.depth -= 1

    def rank(self, rank):
        return PlayedRank(self, rank)

    def finish(self):
        assert self.depth == 0
        for rank, peer, target, n_elements in self.expected:
            message = self.in_flight[peer, rank].pop(0)
            assert len(message) == n_elements
            self.write(rank, target, message)
        assert not any(self.in_flight.values())
        for rank, operation in self.whole:
            self.write(rank, RECEIVE, collective_reference(operation, self.send_memory)[rank])
        return self.receive_memory

    def write(self, rank, address, vector):
        start = (address - RECEIVE) // 8
        self.receive_memory[rank][start : start + len(vector)] = vector


class PlayedRank:
    def __init__(self, library, rank):
        self.library = library
        self.rank = rank

    def whole(self, operation, source, target, n_elements, n_right):
        assert (source, target) == (SEND, RECEIVE)
        assert n_elements == n_right
        self.library.whole.append((self.rank, operation))

    def allReduce(self, source, target, n, datatype, reduction, stream):
        assert (datatype, reduction, stream) == (FLOAT64, 0, STREAM)
        self.whole("all_reduce", source, target, n, len(self.library.send_memory[0]))

    def allGather(self, source, target, n, datatype, stream):
        assert (datatype, stream) == (FLOAT64, STREAM)
        self.whole("all_gather", source, target, n, len(self.library.send_memory[0]))

    def reduceScatter(self, source, target, n, datatype, reduction, stream):
        assert (datatype, reduction, stream) == (FLOAT64, 0, STREAM)
        n_right = len(self.library.send_memory[0]) // len(self.library.send_memory)
        self.whole("reduce_scatter", source, target, n, n_right)

    def send(self, source, n, datatype, peer, stream):
        assert (datatype, stream) == (FLOAT64, STREAM)
        assert self.library.depth == 1  # alone, ranks that all send first would wait for ever
        start = (source - SEND) // 8
        message = self.library.send_memory[self.rank][start : start + n]
        self.library.in_flight.setdefault((self.rank, peer), []).append(message)

    def recv(self, target, n, datatype, peer, stream):
        assert (datatype, stream) == (FLOAT64, STREAM)
        assert self.library.depth == 1
        self.library.expected.append((self.rank, peer, target, n))


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("operation", CALLS)
def test_the_calls_of_all_ranks_add_up_to_the_operation(operation, n_ranks):
    for length in (n_ranks, 12, 13):
        if operation == "reduce_scatter" and length % n_ranks:
            continue
        inputs = [np.arange(float(length)) + 100 * rank for rank in range(n_ranks)]
        truth = collective_reference(operation, inputs)
        library = PlayedLibrary(inputs, [len(vector) for vector in truth])
        for rank in range(n_ranks):
            place = DeviceBuffers(rank, n_ranks, SEND, RECEIVE, length, 8, FLOAT64, STREAM)
            enqueue(operation, library, library.rank(rank), place)
        for result, expected in zip(library.finish(), truth, strict=True):
            assert np.array_equal(result, expected)


def test_shards_that_nccl_cannot_cut_are_refused():
    require_equal_shards("reduce_scatter", 12, 4)
    require_equal_shards("all_to_all", 13, 4)
    with pytest.raises(BootstrapError, match="13 elements over 4 ranks; expected a multiple of 4"):
        require_equal_shards("reduce_scatter", 13, 4)


class BytesNccl:
    """The identifier as CuPy 14 gives and takes it."""

    identifier: object = bytes((7 * i) % 256 for i in range(128))

    def get_unique_id(self):
        return self.identifier

    def NcclCommunicator(self, n_ranks, identifier, rank):
        if not isinstance(identifier, type(self.identifier)):
            msg = "Argument 'commId' has incorrect type"
            raise TypeError(msg)
        return n_ranks, identifier, rank


class NumbersNccl(BytesNccl):
    """The same as older CuPy has it."""

    identifier = tuple((7 * i) % 256 - 128 for i in range(128))


@pytest.mark.parametrize("library", [BytesNccl(), NumbersNccl()])
def test_the_identifier_goes_back_to_nccl_as_it_came(library):
    meeting = SimpleNamespace(identifier=identifier_bytes(library), n_ranks=3, rank=1)
    assert isinstance(meeting.identifier, bytes)
    assert communicator(library, meeting) == (3, library.identifier, 1)
    meeting.identifier = b"abc"
    with pytest.raises(BootstrapError, match="has 3 bytes; expected 128"):
        communicator(library, meeting)


@pytest.mark.parametrize(
    ("operation", "n_elements", "message_bytes"),
    [
        ("all_reduce", 257, 1028),
        ("point_to_point", 257, 1028),
        ("all_gather", 85, 1020),
        ("reduce_scatter", 255, 1020),
        ("all_to_all", 255, 1020),
    ],
)
def test_messages_are_counted_as_nccl_tests_does(operation, n_elements, message_bytes):
    assert task_elements(GpuTask(operation, 1030), 3) == (n_elements, message_bytes)


@pytest.mark.parametrize(
    ("task", "what"),
    [
        (GpuTask("sort", 8), "'sort' is unknown"),
        (GpuTask("all_gather", 8), "expected 12 bytes or more"),
        (GpuTask("all_reduce", 8, n_rounds=0), "n_rounds=0"),
        (GpuTask("all_reduce", 8, "int8"), "dtype 'int8' is unknown"),
        (GpuTask("all_reduce", 8, algorithm="ring"), "algorithm 'ring' is unknown"),
        (GpuTask("all_gather", 99, algorithm="one_shot"), "all_gather in float32 by one_shot"),
        (GpuTask("all_reduce", 99, "float64", algorithm="auto"), "all_reduce in float64 by auto"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(task, what):
    with pytest.raises(BootstrapError, match=what):
        task_elements(task, 3)


def test_one_line_says_that_cupy_is_missing(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cupy" else found(name)
    )
    with pytest.raises(BackendError, match="cupy is not installed") as caught:
        require_nccl()
    assert "\n" not in str(caught.value)
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert gpu.main(["all_reduce"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_what_is_printed_is_a_tidy_table_that_can_be_imported(tmp_path):
    runtime = SimpleNamespace(
        getDeviceProperties=lambda _i: {"name": b"NVIDIA H100 80GB HBM3"}, is_hip=False
    )
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    nccl = SimpleNamespace(get_version=lambda: 22703)
    rows = [
        RoundTimes(
            operation="all_reduce",
            algorithm=algorithm,
            dtype="bfloat16",
            n_ranks=8,
            message_bytes=2**20,
            times_s=(2e-5, 3e-5, 4e-5),
        )
        for algorithm in ("nccl", "one_shot")
    ]
    setting = Setting.of(cupy, nccl, nodes=1, link="NVLink4+NVSwitch")
    path = tmp_path / "printed.csv"
    path.write_text("".join(table(rows, setting)))
    family, found = read_tidy(path, ImportRequest(catalogue=Catalogue()))
    assert family == "collectives"
    assert list(found["library"]) == ["nccl-2.27.3", "tweeling-one_shot"]
    assert list(found["latency_us"]) == [30.0, 30.0]
    names = [implementation("collectives", name) for name in found["library"]]
    assert names == ["vendor", "tweeling"]


def test_launched_ranks_have_to_say_on_how_many_machines_they_are(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert gpu.main(["all_reduce"]) == 2
    assert "--nodes is missing" in capsys.readouterr().err


def test_a_launched_rank_takes_its_own_gpu_of_all_or_the_only_one_it_sees():
    assert [gpu.own_device(rank, 4) for rank in range(4)] == [0, 1, 2, 3]
    assert gpu.own_device(3, 1) == 0
    with pytest.raises(BackendError, match="rank 4 of this machine sees 4 GPUs"):
        gpu.own_device(4, 4)


class PlayedCupy:
    """CuPy on a machine without a GPU."""

    class cuda:  # noqa: N801
        is_available = staticmethod(lambda: False)

    class nccl:  # noqa: N801
        available = True


@pytest.mark.parametrize(("has_nccl", "what"), [(True, "sees no GPU"), (False, "without NCCL")])
def test_one_line_says_what_else_is_missing(monkeypatch, has_nccl, what):
    modules = {"cupy": PlayedCupy, "cupy.cuda.nccl": PlayedCupy.nccl}
    monkeypatch.setattr(PlayedCupy.nccl, "available", has_nccl)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(gpu.importlib, "import_module", modules.get)
    with pytest.raises(BackendError, match=what):
        require_nccl()


def skip_without_gpus(n_least):
    try:
        cupy, _ = require_nccl()
    except BackendError as error:
        pytest.skip(str(error))
    n_devices = min(8, int(cupy.cuda.runtime.getDeviceCount()))
    if n_devices < n_least:
        pytest.skip(f"{n_devices} GPU; expected {n_least} or more")
    return n_devices


@pytest.mark.gpu
def test_one_gpu_gets_back_what_it_put_in():
    """Needs CuPy with NCCL and one GPU; ran on an H100."""
    skip_without_gpus(1)
    times = gpu.time_on_gpus([GpuTask("all_reduce", 2**20)])
    assert times[0].median_s > 0


@pytest.mark.gpu
@pytest.mark.parametrize("operation", CALLS)
def test_nccl_between_gpus_does_what_the_oracle_says(operation):
    """Not run yet; needs CuPy with NCCL and two GPUs."""
    n_ranks = skip_without_gpus(2)
    inputs = nccl_inputs(n_ranks)
    found = run_local_ranks(n_ranks, functools.partial(nccl_rank, operation))
    for own, truth in zip(found, collective_reference(operation, inputs), strict=True):
        assert relative_error_fraction(own, truth) < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_our_own_kernels_between_gpus_sum_to_the_same_bits(dtype, algorithm):
    """Not run yet; needs CuPy and two GPUs that reach each other's memory."""
    n_ranks = skip_without_gpus(2)
    by_rank = run_local_ranks(n_ranks, functools.partial(peer_rank, dtype, algorithm))
    for i, length in enumerate(LENGTHS):
        inputs = [round_to(peer_input(rank, length), dtype) for rank in range(n_ranks)]
        truth = collective_reference("all_reduce", inputs)[0]
        for found in by_rank:
            assert np.array_equal(found[i], by_rank[0][i])
            assert relative_error_fraction(loaded(found[i], dtype), truth) < TOLERANCE[dtype]
