"""Ranks that find each other over TCP: plain processes, no GPU."""

import functools
import os
import socket
import threading
import time

import pytest

from kernels.all_reduce.bootstrap import LOOPBACK, BootstrapError, Rendezvous, World
from kernels.all_reduce.launch_environment import find_launch
from kernels.all_reduce.local_ranks import run_local_ranks
from kernels.all_reduce.mpi_meeting import MpiMeeting

IDENTIFIER = bytes(range(128))


def never():
    raise AssertionError


def free_port():
    with socket.create_server((LOOPBACK, 0)) as listener:
        return listener.getsockname()[1]


def meet(world, listener):
    """What a rank does in a process of its own: it is handed over by name."""
    with Rendezvous(world, lambda: IDENTIFIER, listener=listener) as meeting:
        came_s = time.monotonic()
        if world.rank == world.n_ranks - 1:
            time.sleep(0.3)
            came_s = time.monotonic()
        meeting.barrier()
        left_s = time.monotonic()
        gathered = meeting.gather([float(world.rank), world.rank / 3])
        return meeting.identifier, came_s, left_s, gathered, os.getpid()


def fail(world, listener):
    with Rendezvous(world, lambda: IDENTIFIER, listener=listener) as meeting:
        if world.rank == 1:
            msg = "the device is lost"
            raise ArithmeticError(msg)
        meeting.barrier()


def sleep_long(world, listener):
    del listener
    time.sleep(600 * world.rank)


def leave_without_a_word(world, listener):
    del listener
    os._exit(3 * (world.rank + 1))


def test_processes_share_an_identifier_a_barrier_and_numbers():
    results = run_local_ranks(3, meet, time_limit_s=60)
    assert [result[0] for result in results] == [IDENTIFIER] * 3
    last_came_s = max(result[1] for result in results)
    assert all(result[2] >= last_came_s for result in results)
    expected = [[0.0, 0.0], [1.0, 1 / 3], [2.0, 2 / 3]]
    assert [result[3] for result in results] == [expected] * 3
    assert len({result[4] for result in results} | {os.getpid()}) == 4


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (fail, "rank [01] of 2: (ArithmeticError: the device is lost|rank 1 of 2 is gone)"),
        (sleep_long, r"not done within 1 s: rank (0, )?1 of 2"),
        (leave_without_a_word, "its process ended without a word"),
    ],
)
def test_processes_that_fail_end_all_with_one_line(body, what):
    with pytest.raises(BootstrapError, match=what) as caught:
        run_local_ranks(2, body, time_limit_s=1 if body is sleep_long else 60)
    assert "\n" not in str(caught.value)


def in_thread(function, *arguments, **named):
    """Run a rank beside this one; returns how to get its result or error."""
    outcome = []

    def work():
        try:
            outcome.append(function(*arguments, **named))
        except BootstrapError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()

    def result():
        thread.join(20)
        assert not thread.is_alive()
        return outcome[0]

    return result


def open_rank(world, **named):
    with Rendezvous(world, lambda: IDENTIFIER if world.rank == 0 else never(), **named) as meeting:
        meeting.barrier()
        return meeting.identifier


def test_a_rank_may_come_before_rank_0_listens():
    port = free_port()
    early = in_thread(open_rank, World(1, 2, port=port, time_limit_s=20))
    time.sleep(0.2)
    assert open_rank(World(0, 2, port=port, time_limit_s=20)) == IDENTIFIER
    assert early() == IDENTIFIER


def test_one_rank_needs_nobody():
    assert open_rank(World(0, 1, port=free_port())) == IDENTIFIER


def test_rank_0_listens_on_loopback_only():
    with socket.create_server((LOOPBACK, 0)) as listener:
        assert World(0, 2).host == listener.getsockname()[0] == "127.0.0.1"


def test_strangers_do_not_disturb():
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)) as browser:
            browser.sendall(b"GET / HTTP/1.1\r\n\r\n")
            socket.create_connection((LOOPBACK, port)).close()
            world = World(0, 2, port=port, time_limit_s=20)
            first = in_thread(open_rank, world, listener=listener)
            assert open_rank(world._replace(rank=1)) == IDENTIFIER
            assert first() == IDENTIFIER


def test_a_rank_that_does_not_come_is_named():
    with pytest.raises(BootstrapError, match=r"rank 1 of 2 did not come to 127.* in 0\.2 s"):
        open_rank(World(0, 2, port=free_port(), time_limit_s=0.2))
    with pytest.raises(BootstrapError, match="rank 1 cannot reach rank 0 on 127"):
        open_rank(World(1, 2, port=free_port(), time_limit_s=0.2))


@pytest.mark.parametrize("guest", [World(1, 3), World(2, 2)._replace(rank=1, n_ranks=5)])
def test_ranks_of_another_world_are_refused(guest):
    with socket.create_server((LOOPBACK, 0)) as listener:
        world = World(0, 2, port=listener.getsockname()[1], time_limit_s=10)
        host = in_thread(open_rank, world, listener=listener)
        with pytest.raises(BootstrapError, match=r"rank 0 of . is gone"):
            open_rank(guest._replace(port=world.port, time_limit_s=10))
        assert "expected each of ranks 1 to 1 of 2 once" in str(host())


def test_a_taken_port_is_said():
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(BootstrapError, match=f"cannot listen on 127.0.0.1:{port}"):
            open_rank(World(0, 2, port=port))


@pytest.mark.parametrize(
    ("world", "what"),
    [(World(2, 2), "rank 2 of 2"), (World(-1, 2), "rank -1"), (World(0, 2, port=0), "port 0")],
)
def test_places_that_cannot_be_are_refused(world, what):
    with pytest.raises(BootstrapError, match=what):
        open_rank(world)


def test_who_started_us_is_read_from_the_environment():
    assert find_launch({}) is None
    launch = find_launch({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "a"})
    assert (launch.world.rank, launch.world.n_ranks, launch.local_rank) == (3, 8, 1)
    assert launch.world.host == "a"
    slurm = {"SLURM_PROCID": "5", "SLURM_NTASKS": "6", "SLURM_LOCALID": "1"}
    assert find_launch(slurm).world.host == LOOPBACK
    ours = find_launch(slurm | {"TWEELING_HOST": "10.0.0.1", "TWEELING_PORT": "4000"})
    assert (ours.world.host, ours.world.port) == ("10.0.0.1", 4000)
    mpi = find_launch(slurm | {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"})
    assert (mpi.is_mpi, mpi.world.n_ranks) == (True, 2)


@pytest.mark.parametrize(
    ("environ", "what"),
    [
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK='one'; expected a whole number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "rank 2 of 2"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(environ, what):
    with pytest.raises(BootstrapError, match=what):
        find_launch(environ)


class OneProcessWorld:
    """Stands in for an mpi4py communicator of one rank."""

    Get_rank = staticmethod(lambda: 0)
    Get_size = staticmethod(lambda: 1)
    bcast = staticmethod(lambda obj, root: obj)
    allgather = staticmethod(lambda sendobj: [sendobj])
    Barrier = staticmethod(lambda: None)


def test_mpi_can_introduce_ranks_too():
    with MpiMeeting(OneProcessWorld(), functools.partial(bytes, 128)) as meeting:
        meeting.barrier()
        assert meeting.identifier == bytes(128)
        assert meeting.gather([1.5]) == [[1.5]]
