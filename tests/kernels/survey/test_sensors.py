"""Sensors on fake libraries and fake files, and what the sampler makes of readings."""

import sys
import time
import types

import pytest

from kernels.backends import Device
from kernels.survey.amd_sensors import AmdSmiSensor, HwmonSensor, RocmSmiSensor
from kernels.survey.nvidia_sensors import NvidiaSmiSensor, NvmlSensor
from kernels.survey.reading import NoSensor, Reading
from kernels.survey.sampler import Sampler, summarise
from kernels.survey.sensors import RaplSensor, find_sensor
from kernels.survey.setting import Setting
from kernels.timing import Timing

H200 = Device(
    backend="cuda",
    vendor="nvidia",
    name="NVIDIA H200",
    framework="torch",
    architecture="sm_90",
    n_units=132,
    memory_bytes=1,
    cache_bytes=1,
)


class NVMLError(Exception):
    """As nvidia-ml-py raises it."""


def fake_nvml(*, instant_mw=650_000, uuids=("GPU-1",), without=()):
    """Build a module with the names of nvidia-ml-py that refuses to set anything."""
    nvml = types.ModuleType("pynvml")
    nvml.calls = []

    def field_values(_handle, ids):
        value = types.SimpleNamespace(uiVal=instant_mw or 0)
        return [types.SimpleNamespace(nvmlReturn=0 if instant_mw else 3, value=value) for _ in ids]

    def by_uuid(uuid):
        if uuid not in uuids:
            raise NVMLError(uuid)
        return f"handle of {uuid}"

    answers = {
        "nvmlInit": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetHandleByIndex": lambda i: f"handle {i}",
        "nvmlDeviceGetEnforcedPowerLimit": lambda _h: 700_000,
        "nvmlDeviceGetPowerManagementDefaultLimit": lambda _h: 700_000,
        "nvmlDeviceGetPowerManagementLimitConstraints": lambda _h: [200_000, 700_000],
        "nvmlDeviceGetFieldValues": field_values,
        "nvmlDeviceGetPowerUsage": lambda _h: 500_000,
        "nvmlDeviceGetTotalEnergyConsumption": lambda _h: 12_345_000,
        "nvmlDeviceGetClockInfo": lambda _h, kind: {1: 1755, 2: 3201}[kind],
        "nvmlDeviceGetMaxClockInfo": lambda _h, kind: {1: 1980, 2: 3201}[kind],
        "nvmlDeviceGetTemperature": lambda _h, _kind: 61,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda _h: 0x4 | 0x20,
    }

    def refuse(*_arguments):
        msg = "not supported"
        raise NVMLError(msg)

    for name, answer in answers.items():
        setattr(nvml, name, refuse if name in without else answer)
    nvml.NVMLError = NVMLError
    nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_MEM, nvml.NVML_TEMPERATURE_GPU = 1, 2, 0
    return nvml


def test_nvml_gives_base_units():
    sensor = NvmlSensor(fake_nvml())
    reading = sensor.read()
    assert sensor.power_limit_w == 700.0
    assert (reading.power_w, reading.energy_j) == (650.0, 12345.0)
    assert (reading.clock_mhz, reading.memory_clock_mhz) == (1755, 3201)
    assert reading.temperature_c == 61
    assert reading.throttle == ("power_cap", "software_thermal")
    assert sensor.describe()["driver"] == "580.1"
    assert sensor.describe()["power_limit_range_w"] == [200.0, 700.0]


def test_the_averaged_power_serves_where_the_instant_one_is_missing():
    assert NvmlSensor(fake_nvml(instant_mw=None)).read().power_w == 500.0
    assert NvmlSensor(fake_nvml(without=("nvmlDeviceGetFieldValues",))).read().power_w == 500.0


def test_what_nvml_refuses_stays_empty():
    without = (
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlSystemGetDriverVersion",
    )
    sensor = NvmlSensor(fake_nvml(without=without))
    reading = sensor.read()
    assert reading.energy_j is reading.temperature_c is sensor.power_limit_w is None
    assert sensor.describe()["driver"] is None


def test_the_uuid_finds_the_device_and_the_index_is_next_best():
    assert NvmlSensor(fake_nvml(), index=3, uuid="GPU-1")._handle == "handle of GPU-1"
    assert NvmlSensor(fake_nvml(), index=3, uuid="GPU-9")._handle == "handle 3"


def test_nvml_is_found_and_the_command_stands_in_for_it(monkeypatch):
    nvml = fake_nvml()
    nvml.__spec__ = types.SimpleNamespace(name="pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert find_sensor(H200, uuid="GPU-1").name == "nvml"
    monkeypatch.setattr("shutil.which", lambda _name: None)

    def refuse():
        raise NVMLError

    nvml.nvmlInit = refuse
    assert find_sensor(H200).name == "none"


def test_nvidia_smi_is_read():
    sensor = NvidiaSmiSensor(index=2, run=lambda _c: "312.5, 1410, 1593, 55, 400.00, 550.1\n")
    assert sensor.power_limit_w == 400.0
    reading = sensor.read()
    assert (reading.power_w, reading.clock_mhz, reading.temperature_c) == (312.5, 1410.0, 55.0)
    assert sensor.describe()["driver"] == "550.1"


@pytest.mark.parametrize("answer", ["", "[N/A], [N/A], [N/A], [N/A], [N/A], 550.1"])
def test_nvidia_smi_may_say_nothing(answer):
    sensor = NvidiaSmiSensor(run=lambda _c: answer)
    assert sensor.read().power_w is None


def test_amdsmi_is_read():
    smi = types.ModuleType("amdsmi")
    smi.AmdSmiException = type("AmdSmiException", (Exception,), {})
    smi.AmdSmiClkType = types.SimpleNamespace(GFX=0, MEM=1)
    smi.AmdSmiTemperatureType = types.SimpleNamespace(HOTSPOT=1)
    smi.AmdSmiTemperatureMetric = types.SimpleNamespace(CURRENT=0)
    smi.amdsmi_init = lambda: None
    smi.amdsmi_get_processor_handles = lambda: ["h0"]
    smi.amdsmi_get_power_info = lambda _h: {
        "current_socket_power": 640,
        "average_socket_power": "N/A",
        "power_limit": 750_000_000,
    }
    smi.amdsmi_get_clock_info = lambda _h, kind: {"clk": 2100 if kind == 0 else 1300}
    smi.amdsmi_get_temp_metric = lambda _h, _kind, _metric: 70
    smi.amdsmi_get_energy_count = lambda _h: {
        "energy_accumulator": 1_000_000,
        "counter_resolution": 15.3,
    }
    sensor = AmdSmiSensor(smi)
    reading = sensor.read()
    assert sensor.power_limit_w == 750.0
    assert (reading.power_w, reading.clock_mhz, reading.temperature_c) == (640.0, 2100.0, 70.0)
    assert reading.energy_j == pytest.approx(15.3)


def test_rocm_smi_is_read():
    text = (
        'WARNING: x\n{"card0": {"Current Socket Graphics Package Power (W)": "142.0", '
        '"Max Graphics Package Power (W)": "750.0", "sclk clock speed:": "(132Mhz)", '
        '"Temperature (Sensor junction) (C)": "41.0"}}'
    )
    sensor = RocmSmiSensor(run=lambda _c: text)
    reading = sensor.read()
    assert (reading.power_w, reading.clock_mhz, reading.temperature_c) == (142.0, 132.0, 41.0)
    assert sensor.power_limit_w == 750.0
    assert RocmSmiSensor(run=lambda _c: "no json").read().power_w is None


def test_the_amd_drivers_files_are_read(tmp_path):
    for card, name in (("card0", "ast"), ("card1", "amdgpu"), ("card10", "amdgpu")):
        folder = tmp_path / card / "device" / "hwmon" / "hwmon3"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        watt = {"card1": 300, "card10": 500}.get(card, 0)
        (folder / "power1_average").write_text(f"{watt * 1_000_000}\n")
        (folder / "power1_cap").write_text("750000000\n")
        (folder / "freq1_input").write_text("2100000000\n")
        (folder / "temp1_input").write_text("45000\n")
    sensor = HwmonSensor.find(tmp_path, index=1)
    reading = sensor.read()
    assert (reading.power_w, reading.clock_mhz, reading.temperature_c) == (500.0, 2100.0, 45.0)
    assert sensor.power_limit_w == pytest.approx(750.0)
    assert HwmonSensor.find(tmp_path, index=2) is None


def test_cpu_energy_survives_the_wrap_of_its_counter(tmp_path):
    for package in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "energy_uj").write_text("900")
        (tmp_path / package / "max_energy_range_uj").write_text("1000")
    sensor = RaplSensor(tmp_path)
    assert sensor.is_readable
    first = sensor.read().energy_j
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100")
    assert sensor.read().energy_j - first == pytest.approx(200e-6)
    assert sensor.describe()["n_packages"] == 2
    assert not RaplSensor(tmp_path / "nowhere").is_readable


def test_power_comes_from_the_counter_between_its_steps():
    # The counter moves every 100 ms and is read every 50: edges must not count as half a step.
    readings = [
        Reading(time_s=i * 0.05, energy_j=50.0 * (i // 2), power_w=480.0, clock_mhz=1500.0 + i)
        for i in range(41)
    ]
    seen = summarise(readings)
    assert seen.energy_power_w == pytest.approx(500.0)
    assert seen.power_w == pytest.approx(480.0)
    assert seen.clock_min_mhz == 1500.0
    assert seen.n_readings == 41


def test_nothing_read_is_nothing_said():
    seen = summarise([])
    assert seen.power_w is seen.energy_power_w is seen.clock_mhz is seen.temperature_c is None


def test_the_sampler_reads_while_others_work_and_stops():
    sensor = NvmlSensor(fake_nvml())
    start_s = time.monotonic()
    with Sampler(sensor, period_s=0.001) as sampler:
        while len(sampler.between(start_s, time.monotonic())) < 3:
            time.sleep(0.001)
    stop_s = time.monotonic()
    n_readings = len(sampler.between(start_s, stop_s))
    assert n_readings >= 3
    assert sampler.between(stop_s, stop_s + 1.0) == []
    sampler.forget(stop_s)
    assert sampler.between(start_s, stop_s) == []


class WarmSensor(NoSensor):
    """Always says the same; may take its time."""

    def __init__(self, *, read_s=0.0):
        self.read_s = read_s

    def read(self):
        time.sleep(self.read_s)
        return Reading(time_s=time.monotonic(), power_w=300.0, clock_mhz=1485.0, temperature_c=60.0)


def columns_of_a_short_call(sampler):
    setting = Setting(device=H200, software="s", sampler=sampler)
    timing = Timing.from_samples([1e-5] * 5)
    return setting.columns(timing, start_s=time.monotonic())


def test_a_call_over_before_the_sensor_was_read_has_the_clock_right_after_it():
    columns = columns_of_a_short_call(Sampler(WarmSensor()))
    assert (columns["clock_mhz"], columns["temperature_c"]) == (1485.0, 60.0)
    assert columns["power_w"] is None


def test_a_slow_sensor_holds_no_call_up():
    sampler = Sampler(WarmSensor(read_s=0.03))
    assert columns_of_a_short_call(sampler)["clock_mhz"] == 1485.0
    assert columns_of_a_short_call(sampler)["clock_mhz"] is None


def test_a_counter_is_read_by_one_thread_at_a_time(tmp_path):
    folder = tmp_path / "intel-rapl:0"
    folder.mkdir()
    (folder / "max_energy_range_uj").write_text("1000000000")
    (folder / "energy_uj").write_text("0")
    sensor = RaplSensor(tmp_path)
    with Sampler(sensor, period_s=0.0002) as sampler:
        for n_uj in range(1, 400):
            (folder / "energy_uj").write_text(str(n_uj))
            sampler.read_now()
    # A reading that another thread overtook would count as a wrap of the whole range.
    assert sensor.read().energy_j < 1.0


def test_what_was_seen_meanwhile_is_kept_without_a_clock():
    class Thermometer(NoSensor):
        def read(self):
            return Reading(time_s=time.monotonic(), temperature_c=50.0)

    sampler = Sampler(Thermometer())
    start_s = time.monotonic()
    sampler.read_now()
    setting = Setting(device=H200, software="s", sampler=sampler)
    columns = setting.columns(Timing.from_samples([1e-5] * 5), start_s=start_s)
    assert (columns["clock_mhz"], columns["temperature_c"]) == (None, 50.0)
