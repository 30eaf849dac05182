"""Energy of a launch, from counters that the test moves itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kernels.backends import Device, host_device
from kernels.energy import measure_launch_energy, why_no_counter
from kernels.survey.amd_sensors import AmdSmiSensor
from kernels.survey.nvidia_sensors import NvidiaSmiSensor, NvmlSensor
from kernels.survey.reading import NoSensor
from kernels.survey.sensors import RaplSensor

CALL_S = 1e-3
POWER_W = 400.0


class World:
    """A device that draws `POWER_W` while it works, and a counter that moves in steps."""

    def __init__(self, step_s=0.02):
        self.now_s, self.step_s, self.n_calls = 0.0, step_s, 0

    def clock(self):
        return self.now_s

    def call(self, index):
        assert index == self.n_calls
        self.n_calls += 1
        self.now_s += CALL_S

    def counter_j(self):
        return 1e6 + POWER_W * (self.now_s // self.step_s) * self.step_s

    def measured(self, sensor, **options):
        return measure_launch_energy(
            self.call, sensor=sensor, per_call_s=CALL_S, clock=self.clock, **options
        )


def nvml(world):
    class NVMLError(Exception):
        pass

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda _handle: world.counter_j() * 1000.0,
    )


def amdsmi(world):
    return SimpleNamespace(
        AmdSmiException=RuntimeError,
        AmdSmiClkType=SimpleNamespace(),
        AmdSmiTemperatureType=SimpleNamespace(HOTSPOT=1),
        AmdSmiTemperatureMetric=SimpleNamespace(CURRENT=0),
        amdsmi_init=lambda: None,
        amdsmi_get_processor_handles=lambda: [0],
        amdsmi_get_energy_count=lambda _handle: {
            "energy_accumulator": world.counter_j() / 15.3e-6,
            "counter_resolution": 15.3,
        },
    )


class RaplFiles:
    """The counter of one package in files as Linux shows them; it wraps around."""

    RANGE_UJ = 60_000_000

    def __init__(self, world, root):
        self.world, self.folder = world, root / "intel-rapl:0"
        self.folder.mkdir(parents=True)
        (self.folder / "max_energy_range_uj").write_text(str(self.RANGE_UJ))
        core = root / "intel-rapl:0:0"
        core.mkdir()
        (core / "energy_uj").write_text("1")
        self.write()
        self.sensor, self.name = RaplSensor(root), "rapl"

    def write(self):
        (self.folder / "energy_uj").write_text(
            str(int(self.world.counter_j() * 1e6) % self.RANGE_UJ)
        )

    def read(self):
        self.write()
        return self.sensor.read()


@pytest.mark.parametrize("make", [nvml, amdsmi, "rapl"])
def test_energy_of_a_call_is_power_times_time(make, tmp_path):
    world = World()
    if make == "rapl":
        sensor = RaplFiles(world, tmp_path)
    else:
        sensor = NvmlSensor(nvml(world)) if make is nvml else AmdSmiSensor(amdsmi(world))
    found = world.measured(sensor)
    assert found.energy_j == pytest.approx(POWER_W * CALL_S, rel=0.05)
    assert found.n_launches > 300
    assert found.duration_s == pytest.approx(found.n_launches * CALL_S, rel=0.05)


def test_the_device_is_waited_for_between_readings():
    world, waits = World(), []
    world.measured(NvmlSensor(nvml(world)), synchronize=lambda: waits.append(world.n_calls))
    assert waits == list(range(10, world.n_calls + 1, 10))


def test_a_counter_that_hardly_moves_gives_no_energy_and_a_reason():
    world = World(step_s=1.5)
    found = world.measured(NvmlSensor(nvml(world)))
    assert found.energy_j is None
    assert "moved 1 times in 2 s; 4 are needed" in found.why_none


def test_without_a_counter_there_is_no_energy_and_nothing_runs():
    world = World()
    sensor = NvidiaSmiSensor(run=lambda _command: "300, 1980, 2619, 60, 700, 580.1")
    found = world.measured(sensor)
    assert (found.energy_j, world.n_calls) == (None, 0)
    assert "nvidia-ml-py" in found.why_none


GPU = Device(
    backend="cuda",
    vendor="nvidia",
    name="x",
    framework="cupy",
    architecture="sm_90",
    n_units=1,
    memory_bytes=1,
    cache_bytes=1,
)


def test_why_there_is_no_counter_is_one_line(tmp_path):
    assert "nvidia-ml-py" in why_no_counter(GPU, NoSensor())
    empty = tmp_path / "powercap"
    assert "no RAPL package below" in why_no_counter(host_device(), NoSensor(), powercap=empty)
    (empty / "intel-rapl:0").mkdir(parents=True)
    (empty / "intel-rapl:0" / "energy_uj").write_text("")
    why = why_no_counter(host_device(), NoSensor(), powercap=empty)
    assert why.endswith("cannot be read (Linux lets root only)")
    assert why_no_counter(GPU, NvmlSensor(nvml(World()))) is None
