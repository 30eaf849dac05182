"""A bench of one kernel: time it beside the vendor's library, and say everything about it."""

from __future__ import annotations

import importlib.util
from functools import cached_property

import pytest

from benches.record import Bed, Outcome, Profile, extra_info
from benches.replay import replay
from kernels.backends import BackendError, Device
from kernels.benched.case import KernelCase
from kernels.benched.contender import COPY, Arena, Contest
from kernels.energy import measure_launch_energy, why_no_counter
from kernels.gpu.cupy_module import why_no_gpu
from kernels.survey.environment import installed_versions
from kernels.survey.sensors import find_sensor
from kernels.timing import RepeatPolicy

USUAL = RepeatPolicy(n_warmup=2, n_min=5, budget_s=0.15)
QUICK = RepeatPolicy(n_warmup=1, n_min=5, budget_s=0.08, relative_error_fraction=0.02)
ENERGY_S, QUICK_ENERGY_S = 0.5, 0.25
CONTENDERS = {
    ("cpu", "gemm"): ("blas", "numba"),
    ("cpu", "attention"): ("sdpa", "unfused", "numba"),
    ("cpu", "ops"): ("torch", "numba"),
    ("cpu", "membw"): ("numpy", "numba"),
    ("gpu", "gemm"): ("vendor", "torch", "own"),
    ("gpu", "attention"): ("sdpa-flash", "sdpa-cudnn", "unfused", "own"),
    ("gpu", "ops"): ("torch", "own"),
    ("gpu", "membw"): ("vendor", "own"),
}
"""Who may run a family; the vendor's library comes first."""
OF_TORCH = ("sdpa", "torch", "sdpa-flash", "sdpa-cudnn")


def contenders_of(case: KernelCase, backend: str) -> list[str]:
    """Names of those that a bench is made for; what the rest lacks is known before it is tried."""
    names = CONTENDERS["cpu" if backend == "cpu" else "gpu", case.family]
    if importlib.util.find_spec("torch") is None:
        names = tuple(name for name in names if name not in OF_TORCH)
    if case.direction == "bwd" or (backend != "cpu" and case.dtype != "fp16"):
        names = tuple(name for name in names if name != "unfused")
    return list(names)


def require_threads(n_threads: int, device: Device) -> None:
    """Refuse a number of threads that the device does not have."""
    if device.backend != "cpu":
        msg = f"--threads {n_threads}: threads are of the host; leave it out for {device.backend}"
        raise BackendError(msg)
    if not 1 <= n_threads <= device.n_units:
        msg = f"--threads {n_threads}: expected 1 to {device.n_units}, the cores of this host"
        raise BackendError(msg)


class KernelBench:
    """The device at hand, and how a case is benched on it."""

    def __init__(
        self,
        device: Device,
        *,
        profile: Profile,
        is_quick: bool,
        n_threads: int | None = None,
        has_energy: bool = True,
    ):
        reason = why_no_gpu() if device.backend != "cpu" else None
        if reason is not None:
            msg = f"backend {device.backend}: benches of kernels need CuPy: {reason}"
            raise BackendError(msg)
        if n_threads is not None:
            require_threads(n_threads, device)
        self.device, self.profile, self.is_quick = device, profile, is_quick
        self._n_threads, self._has_energy = n_threads, has_energy
        self.policy = QUICK if is_quick else USUAL

    @cached_property
    def arena(self) -> Arena:
        """Made when the first kernel is benched: it compiles, and takes memory."""
        if self.device.backend == "cpu":
            from kernels.benched.host import HostArena

            return HostArena(n_threads=self._n_threads)
        from kernels.benched.device import DeviceArena

        return DeviceArena(self.device)

    @cached_property
    def sensor(self):
        """What reads energy and driver of the device."""
        return find_sensor(self.device, uuid=getattr(self.arena, "uuid", None))

    @cached_property
    def why_no_energy(self) -> str | None:
        """One line where no energy is measured."""
        if not self._has_energy:
            return "--no-energy"
        return why_no_counter(self.device, self.sensor)

    @cached_property
    def bed(self) -> Bed:
        """What all benches of the session share."""
        driver = self.sensor.describe().get("driver")
        return Bed(
            device=self.device,
            profile=self.profile,
            n_threads=self.arena.n_threads,
            clock=self.arena.clock,
            driver=None if driver is None else str(driver),
            packages=installed_versions(),
        )

    def machine_info(self) -> dict[str, object]:
        """What tells whether a baseline may be held against this run."""
        return {
            "device": self.device.name,
            "backend": self.device.backend,
            "architecture": self.device.architecture,
            "n_threads": self.bed.n_threads,
            "driver": self.bed.driver,
            "packages": self.bed.packages,
        }

    def run(self, benchmark, case: KernelCase, name: str) -> None:
        """Bench one contender of a case; skips with a reason where it cannot run."""
        try:
            contest = self.arena.contest(case)
        except MemoryError as error:
            pytest.skip(f"not enough memory: {error}")
        if name not in contest.contenders:
            pytest.skip(contest.absent.get(name, f"{name} does not run {case.op}"))
        contender = contest.contenders[name]
        benchmark.group = case.name
        if benchmark.disabled:
            contender.call(0)
            self.arena.synchronize()
            benchmark.pedantic(lambda: None)
            return
        vendors = () if contender.is_vendor else tuple(contest.vendors())
        others = (*vendors, COPY) if contest.copy_bytes else vendors
        samples = self.arena.measure(contest, (name, *others), self.policy)
        medians = {each: found.timing.median_s for each, found in samples.items()}
        copy_s = medians.get(COPY)
        energy_j, why_no_energy = self._energy(contender.call, medians[name])
        outcome = Outcome(
            case=case,
            library=contender.library,
            framework=contender.framework,
            median_s=medians[name],
            n_inner=samples[name].n_inner,
            vendor_s={each: medians[each] for each in vendors},
            why_no_vendor="" if contender.is_vendor else why_no_vendor(contest),
            copy_bandwidth_bytes_per_s=contest.copy_bytes / copy_s if copy_s else None,
            energy_per_launch_j=energy_j,
            why_no_energy=why_no_energy,
        )
        self.record(benchmark, outcome, samples[name].times_s)

    def record(self, benchmark, outcome: Outcome, times_s) -> None:
        """Give times to pytest-benchmark, and to `extra_info` what is known about them."""
        benchmark.extra_info.update(extra_info(outcome, self.bed))
        replay(benchmark, times_s)

    def _energy(self, call, median_s: float) -> tuple[float | None, str]:
        if self.why_no_energy is not None:
            return None, self.why_no_energy
        found = measure_launch_energy(
            call,
            sensor=self.sensor,
            per_call_s=median_s,
            synchronize=self.arena.synchronize,
            window_s=QUICK_ENERGY_S if self.is_quick else ENERGY_S,
        )
        return found.energy_j, found.why_none


def why_no_vendor(contest: Contest) -> str:
    """Why nothing of the vendor's was timed beside a contender."""
    reasons = "; ".join(f"{name}: {why}" for name, why in contest.absent.items() if why)
    return reasons or f"no vendor's library runs {contest.case.op} here"
