"""Survey of the device at hand: finds it, plans its cases, runs them into a folder."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hardware_profiles.errors import TweelingError
from kernels.backends import Device, find_device, why_missing
from kernels.survey.case import FAMILIES, Case, in_order
from kernels.survey.environment import describe_environment, software_column
from kernels.survey.runner import Hooks, Limits, run_cases
from kernels.survey.sampler import Sampler
from kernels.survey.sensors import find_sensor
from kernels.survey.setting import Setting
from kernels.survey.store import Store

__all__ = [
    "Survey",
    "SurveyError",
    "SurveyRequest",
    "chosen_families",
    "load_seconds",
    "plan_cases",
    "survey_device",
]

LOAD_S = 5.0
QUICK_LOAD_S = 1.5
LOAD_SHARE = 0.012
"""Share of a time limit that one sustained load may take. [1]"""


class SurveyError(TweelingError):
    """The survey was asked for something that it cannot do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyRequest:
    """What is asked of a survey."""

    folder: Path | None = None
    """Where it goes; ``measured/<device>`` when it is not given."""
    backend: str | None = None
    is_quick: bool = False
    families: tuple[str, ...] = FAMILIES
    resumes: bool = False
    """Whether a survey that the folder holds already is gone on with."""
    time_limit_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a survey leaves."""

    device: Device
    store: Store
    ending: str
    """finished, time limit or interrupted."""

    @property
    def counts(self) -> str:
        """Rows by table and cases that the device cannot run, in words."""
        rows = ", ".join(f"{n} {name}" for name, n in self.store.n_rows().items()) or "no rows"
        return f"{rows}, {len(self.store.skipped)} skipped"


def chosen_families(text: str) -> tuple[str, ...]:
    """Families named in a list with commas; all of them for ``all``."""
    if text == "all":
        return FAMILIES
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FAMILIES:
            msg = f"--families: {name!r} is unknown; use {', '.join(FAMILIES)}"
            raise SurveyError(msg)
    if not names:
        msg = f"--families: nothing is named; use {', '.join(FAMILIES)}"
        raise SurveyError(msg)
    return tuple(name for name in FAMILIES if name in names)


def load_seconds(*, is_quick: bool, time_limit_s: float | None) -> float:
    """How long each sustained load runs: five seconds, less in a quick or a short survey. [s]."""
    longest = QUICK_LOAD_S if is_quick else LOAD_S
    if time_limit_s is None:
        return longest
    return min(longest, max(0.5, LOAD_SHARE * time_limit_s))


def survey_device(request: SurveyRequest, *, began_s: float | None = None) -> Survey:
    """Measure the device at hand.

    Parameters
    ----------
    request
        What is asked for.
    began_s
        When the time limit began to run, on the monotonic clock; now when it is not given. [s]

    Raises
    ------
    SurveyError, BackendError
        In one line: no such device, a folder that holds something else.
    """
    start_s = time.monotonic() if began_s is None else began_s
    if request.time_limit_s is not None and request.time_limit_s <= 0:
        msg = f"--time-limit: {request.time_limit_s:g} is no time; give seconds above 0"
        raise SurveyError(msg)
    device = find_device(request.backend)
    if device.backend == "cpu" and request.backend in (None, "auto"):
        reasons = "; ".join(f"{name}: {why_missing(name)}" for name in ("cuda", "rocm"))
        sys.stderr.write(f"no GPU to measure ({reasons}): measuring the host processor\n")
    torch = _torch()
    sensor = find_sensor(device, uuid=_uuid(torch, device))
    settings: dict[str, object] = {
        "quick": request.is_quick,
        "time_limit_s": request.time_limit_s,
        "families": list(request.families),
    }
    environment = describe_environment(device, sensor=sensor, torch=torch, settings=settings)
    store = _open_store(request, device, environment)
    deadline_s = None if request.time_limit_s is None else start_s + request.time_limit_s
    with Sampler(sensor) as sampler:
        setting = Setting(
            device=device,
            software=software_column(device, sensor=sensor, torch=torch),
            sampler=sampler,
            is_quick=request.is_quick,
            load_s=load_seconds(is_quick=request.is_quick, time_limit_s=request.time_limit_s),
        )
        plan = plan_cases(setting, torch=torch, families=request.families)
        ending = run_cases(
            plan.cases, store=store, limits=Limits(deadline_s=deadline_s), hooks=plan.hooks
        )
    return Survey(device=device, store=store, ending=ending)


def _open_store(request: SurveyRequest, device: Device, environment: dict[str, object]) -> Store:
    folder = Path("measured") / device.slug if request.folder is None else request.folder
    store = Store(folder, environment=environment)
    if store.has_files and not request.resumes:
        msg = f"--out {folder}: holds a survey already; add --resume or name another folder"
        raise SurveyError(msg)
    store.load()
    others = store.devices() - {device.name}
    if others:
        msg = f"--out {folder}: holds rows of {others.pop()!r}, this is {device.name!r}"
        raise SurveyError(msg)
    return store


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The cases in their order, and what to do around them."""

    cases: list[Case]
    hooks: Hooks


def plan_cases(setting: Setting, *, torch: ModuleType | None, families: tuple[str, ...]) -> Plan:
    """Cases that the device and the installed packages allow, in order."""
    highest = 0 if setting.is_quick else 2
    cases: list[Case] = []
    hooks = Hooks()
    if setting.device.backend == "cpu":
        from kernels.survey.host import host_cases

        cases += host_cases(setting)
    elif setting.device.framework == "cupy":
        from kernels.survey.cupy_device import cupy_cases

        cases += cupy_cases(setting)
    if torch is not None and setting.device.framework != "cupy":
        torch_cases, hooks = _torch_cases(setting, torch)
        cases += torch_cases
    if setting.device.backend != "cpu":
        from kernels.survey.own_kernels import own_cases_here

        cases += own_cases_here(setting)
    wanted = [c for c in cases if c.family in families and c.priority <= highest]
    return Plan(cases=in_order(wanted), hooks=hooks)


def _torch_cases(setting: Setting, torch: ModuleType) -> tuple[list[Case], Hooks]:
    from kernels.survey.attention import attention_cases
    from kernels.survey.bandwidth import bandwidth_cases
    from kernels.survey.gemm import gemm_cases
    from kernels.survey.launch import launch_cases
    from kernels.survey.memory_bound import memory_bound_cases
    from kernels.survey.power import power_cases
    from kernels.survey.torch_device import TorchDevice

    torch_device = TorchDevice(torch, setting.device)
    makers = (
        attention_cases,
        power_cases,
        gemm_cases,
        bandwidth_cases,
        launch_cases,
        memory_bound_cases,
    )
    cases = [case for make in makers for case in make(setting, torch_device)]

    def recover() -> None:
        try:
            torch_device.synchronize()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            msg = f"the device no longer answers: {reason}; run again with --resume"
            raise SurveyError(msg) from None
        torch_device.tidy(is_forced=True)

    return cases, Hooks(after_case=torch_device.tidy, after_failure=recover)


def _torch() -> ModuleType | None:
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError):
        return None  # built for libraries that are not here


def _uuid(torch: ModuleType | None, device: Device) -> str | None:
    """Name under which the driver's own tools know this device; it is written nowhere."""
    if torch is None or device.backend != "cuda" or device.framework != "torch":
        return None
    uuid = str(getattr(torch.cuda.get_device_properties(device.index), "uuid", ""))
    if not re.fullmatch(r"(GPU-)?[0-9a-f-]{36}", uuid):
        return None
    return uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
