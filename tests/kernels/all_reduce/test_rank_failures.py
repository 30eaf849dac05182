"""What happens when a rank dies, hangs or is interrupted: one line, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kernels.all_reduce.cpu import RankError, RankGroup
from kernels.all_reduce.rank_processes import safe_start_method
from kernels.all_reduce.signals import memory_fence

SHARED_MEMORY = Path("/dev/shm")
FOREVER = 10**7
"""Rounds that no test waits for."""

pytestmark = pytest.mark.skipif(
    not SHARED_MEMORY.is_dir(), reason="shared memory is not listed on this system"
)


def shared_blocks():
    """Blocks as Python names them: another program may use shared memory meanwhile."""
    return {path.name for path in SHARED_MEMORY.glob("psm_*")}


@pytest.fixture(autouse=True)
def nothing_left():
    before = shared_blocks()
    yield
    assert not shared_blocks() - before


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_gone(pids, *, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and any(map(is_running, pids)):
        time.sleep(0.02)
    return not any(map(is_running, pids))


def exists(pid):
    """A zombie exists too."""
    return Path(f"/proc/{pid}").exists()


def group_of(n_ranks, **limits):
    return RankGroup(n_ranks, max_bytes=2**16, start_method="fork", **limits)


def test_leaving_the_group_ends_every_rank():
    before = shared_blocks()
    with group_of(3) as group:
        pids = group.pids
        assert len(set(pids)) == 3
        # The name is gone while the ranks still work: a killed owner leaves nothing either.
        assert not shared_blocks() - before
    assert group.pids == ()
    assert not any(map(exists, pids))


@pytest.mark.parametrize("killed_while_idle", [True, False], ids=["idle", "busy"])
def test_a_rank_that_dies_ends_the_others(killed_while_idle):
    with group_of(3) as group:
        pids = group.pids
        kill = threading.Timer(0.2, os.kill, (pids[1], signal.SIGKILL))
        if killed_while_idle:
            os.kill(pids[1], signal.SIGKILL)
        else:
            kill.start()
        with pytest.raises(RankError, match="rank 1 of 3 ended by SIGKILL during all_re") as caught:
            group.time("all_reduce", message_bytes=1024, n_rounds=FOREVER)
        assert "\n" not in str(caught.value)
        assert not any(map(exists, pids))
        with pytest.raises(RankError, match="not open"):
            group.time("all_reduce", message_bytes=1024)


def test_a_rank_that_hangs_is_named_and_ended():
    with group_of(3, time_limit_s=0.5) as group:
        pids = group.pids
        os.kill(pids[2], signal.SIGSTOP)
        with pytest.raises(
            RankError, match=r"rank 2 of 3 stands still during all_gather for 0\.5 s"
        ):
            group.run("all_gather", inputs=[np.ones(4)] * 3)
        assert not any(map(exists, pids))


def test_slow_rounds_are_no_hang():
    with group_of(2, time_limit_s=0.3) as group:
        began = time.monotonic()
        while time.monotonic() < began + 0.6:
            group.time("all_reduce", message_bytes=1024, n_rounds=2000)


def test_an_error_in_a_rank_is_reported_with_its_words(monkeypatch):
    def broken(exchange):
        msg = f"no step on rank {exchange.rank}"
        raise ArithmeticError(msg)

    from kernels.all_reduce import rank_process

    monkeypatch.setitem(rank_process.ALGORITHMS, ("all_gather", "ring"), broken)
    with group_of(1) as group:
        pids = group.pids
        with pytest.raises(RankError, match=r"rank 0 of 1 failed.*ArithmeticError: no step"):
            group.run("all_gather", inputs=[np.ones(4)])
    assert not any(map(exists, pids))


def test_an_error_of_the_caller_passes_and_ends_the_ranks():
    pids = ()
    with pytest.raises(ZeroDivisionError), group_of(2) as group:  # noqa: PT012 - what is tested
        pids = group.pids
        raise ZeroDivisionError
    assert not any(map(exists, pids))


OWNER = """
import signal

from kernels.all_reduce.cpu import RankGroup

if __name__ == "__main__":
    # As in a terminal, also where the tests run in the background, which ignores interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with RankGroup(2, max_bytes=2**16, start_method="{method}") as group:
        print(*group.pids, flush=True)
        group.time("all_reduce", message_bytes=1024, n_rounds=10**7)
"""


@pytest.fixture
def owner(tmp_path):
    """A program of its own whose ranks are at work; with its process number and theirs."""
    started = []

    def start(method):
        script = tmp_path / "owner.py"
        script.write_text(textwrap.dedent(OWNER.format(method=method)))
        process = subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        pids = [int(word) for word in process.stdout.readline().split()]
        return process, pids

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_interrupt_from_the_keyboard_ends_everything(owner, method):
    process, pids = owner(method)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group
    _, errors = process.communicate(timeout=20)
    assert process.returncode in {-signal.SIGINT, 128 + signal.SIGINT, 1}
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert wait_until_gone(pids)


def test_ranks_whose_owner_is_killed_end_by_themselves(owner):
    process, pids = owner("fork")
    process.kill()
    process.communicate()
    assert len(pids) == 2
    assert wait_until_gone(pids)


def test_spawned_ranks_compute_the_same():
    inputs = [np.arange(5.0), np.arange(5.0) * 10]
    with RankGroup(2, max_bytes=64, start_method="spawn") as group:
        result = group.run("all_reduce", inputs=inputs)
    assert result[0].tolist() == [0.0, 11.0, 22.0, 33.0, 44.0]


def test_beside_another_thread_ranks_are_not_forked():
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    try:
        assert safe_start_method() == "spawn"
    finally:
        leave.set()
        thread.join()


def test_machines_that_reorder_stores_get_a_fence(monkeypatch):
    assert memory_fence("x86_64") is not memory_fence("aarch64")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with group_of(2) as group:
        result = group.run("all_reduce", inputs=[np.ones(3), np.ones(3)])
    assert result[0].tolist() == [2.0, 2.0, 2.0]
