"""The cases without torch, on a cupy whose device is NumPy."""

import time
import types

import numpy as np
import pytest

from kernels.backends import Device
from kernels.survey.cupy_device import cupy_cases
from kernels.survey.reading import NoSensor
from kernels.survey.sampler import Sampler
from kernels.survey.setting import Setting

DEVICE = Device(
    backend="cuda",
    vendor="nvidia",
    name="Fake",
    framework="cupy",
    architecture="sm_80",
    n_units=108,
    memory_bytes=2**35,
    cache_bytes=2**12,
)


class Event:
    def record(self):
        self.time_s = time.perf_counter()


class RawModule:
    def __init__(self, code):
        assert 'extern "C"' in code

    def get_function(self, name):
        assert name == "spin"
        return lambda _grid, _block, arguments: time.sleep(int(arguments[0]) * 1e-9)


def fake_cupy():
    random = np.random.default_rng(0)
    return types.SimpleNamespace(
        __version__="14.0",
        RawModule=RawModule,
        random=random,
        empty=np.empty,
        matmul=np.matmul,
        copyto=np.copyto,
        cuda=types.SimpleNamespace(
            Event=Event,
            get_elapsed_time=lambda start, stop: (stop.time_s - start.time_s) * 1e3,
            Device=lambda: types.SimpleNamespace(synchronize=lambda: None),
        ),
    )


@pytest.mark.parametrize(
    "key", ["fp32/NN/1024x1024x1024/cold", "copy/1048576", "empty/stream", "empty/host"]
)
def test_cases_run_and_give_rows(key):
    setting = Setting(device=DEVICE, software="t", sampler=Sampler(NoSensor()), is_quick=True)
    cases = cupy_cases(setting, fake_cupy())
    assert len({(case.family, case.key) for case in cases}) == len(cases)
    (row,) = next(case for case in cases if case.key == key).run()
    assert row.case == key
    assert row.latency_us > 0
