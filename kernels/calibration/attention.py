"""Attention parameters of every device with rows: fits, relatives, corrections, judgements."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import (
    AttentionCalibration,
    AttentionDecode,
    Calibration,
    Provenance,
)
from kernels.calibration.attention_backward import BORROWED_SPREAD, pass_ratio, with_pass_ratio
from kernels.calibration.attention_family import (
    family_attention,
    scaled_attention,
    scaled_values,
)
from kernels.calibration.attention_judge import AttentionJudge
from kernels.calibration.attention_rows import DeviceRows, attention_rows
from kernels.calibration.attention_rules import DerivedRule, Rules, load_rules
from kernels.calibration.fit_attention import (
    NO_BLOCKS,
    AttentionFitter,
    Parameters,
    heldout_mask,
    parameter_ranges,
    starts,
)
from kernels.calibration.session import Session
from kernels.families.inheritance import named_sources, prior_accelerator
from kernels.measurement_tables import Table
from kernels.prediction.attention import attention_sizes
from kernels.prediction.entries import UNFUSED

__all__ = ["AttentionCalibrator", "attention_calibrations"]

logger = logging.getLogger(__name__)

RICH_ROWS = 60
"""Rows from which a group tells its parameters by itself. [rows]"""

FAR_SPREAD = 0.2
"""The same from another architecture. [1]"""

UNKNOWN = Provenance(
    figure_class="assumed",
    source="no rows of such passes, here or on a relative",
    relative_spread_fraction=FAR_SPREAD,
)

FIT_CODE = (
    "attention",
    "residual.py",
    "smooth.py",
    "libraries.toml",
    "prediction/attention.py",
    "calibration/fit_attention.py",
    "calibration/attention_parameters.toml",
    "calibration/attention_rows.py",
    "calibration/log_least_squares.py",
    "calibration/fit_residual.py",
    "calibration/split.py",
)
"""What a finished fit depends on besides its rows: another version of it fits again."""

NO_SIDE = {"side_query_ratio": 0.0, "side_key_ratio": 0.0}


class _FittedValues(msgspec.Struct, frozen=True):
    """Parameters as an interrupted run keeps them."""

    values: Parameters


@dataclass
class _Device:
    """One accelerator in the making."""

    data: DeviceRows
    values: dict[str, Parameters] = field(default_factory=dict)
    """Forward parameters of the implementations fitted so far."""
    entries: dict[str, AttentionCalibration] = field(default_factory=dict)

    @property
    def accelerator(self) -> Accelerator:
        return self.data.accelerator


@dataclass
class AttentionCalibrator:
    """One run over all devices; keeps what relatives and later steps look up."""

    session: Session
    devices: list[_Device]
    rules: Rules = field(default_factory=load_rules)
    fitter: AttentionFitter = field(default_factory=AttentionFitter)

    def __post_init__(self) -> None:
        self.judge = AttentionJudge(self.session, self.fitter.times)

    def run(self) -> dict[str, dict[str, AttentionCalibration]]:
        """Entries by accelerator profile and implementation."""
        order = self._order()
        # Those that lean on the kernel which would stand for them without rows come after it.
        leaning = [one for one in order if self._stand_in(*one) is not None]
        first = [one for one in order if one not in leaning]
        for device, name in self.session.progress("attention", first):
            self._fit(device, name, self._rows(device, name))
        for device in self.devices:
            self._fit_joint(device)
        for device, name in leaning:
            self._fit(device, name, self._rows(device, name))
        self._borrow_backward()
        self._share()
        for rule in self.rules.derived:
            self._derive(rule)
        self._leave_out()
        self._note_errors()
        return {device.accelerator.name: device.entries for device in self.devices}

    def _order(self) -> list[tuple[_Device, str]]:
        """Groups, those with most rows first: relatives start from them."""
        groups = [
            (device, str(name), int(np.sum(device.data.names == name)))
            for device in self.devices
            for name in sorted(set(device.data.names))
            if name not in ("", UNFUSED) and not self._is_joint(device, str(name))
        ]
        groups.sort(key=lambda one: (one[2] < RICH_ROWS, -one[2]))
        return [(device, name) for device, name, _ in groups]

    def _is_joint(self, device: _Device, name: str) -> bool:
        architecture = device.accelerator.architecture
        return any(
            one.name == name and architecture in one.architectures for one in self.rules.joint
        )

    def _rows(self, device: _Device, *names: str) -> Table:
        """Rows of implementations, without those that no fit uses."""
        rows = device.data.of(*names)
        for rule in self.rules.left_out:
            if device.accelerator.name in rule.accelerators and set(names) & set(
                rule.implementations
            ):
                grouped = rows["heads_kv"] < rows["heads_q"]
                out = np.isin(rows["direction"], rule.directions)
                rows = rows.where(~(out & (grouped | (not rule.is_grouped))))
        return rows

    def _relative(self, device: _Device, name: str) -> Parameters | None:
        """The same implementation on a device of the same architecture."""
        for other in self.devices:
            same = other.accelerator.architecture == device.accelerator.architecture
            if other is not device and same and name in other.values:
                return other.values[name]
        return None

    def _nearest(self, device: _Device, rows: Table) -> Parameters:
        """The implementation on this device that is closest to some rows."""
        start = starts(parameter_ranges().forward) | NO_BLOCKS
        if not device.values or not len(rows):
            return start
        measured_s = rows["latency_us"] * 1e-6

        def distance(values: Parameters) -> float:
            logs = np.log(self.fitter.predicted_s(rows, device.accelerator, values) / measured_s)
            return float(np.mean(np.abs(logs)))

        return min(device.values.values(), key=distance)

    def _stand_in(self, device: _Device, name: str) -> DerivedRule | None:
        """Rule that would derive a thin group from another entry of the device without its rows."""
        if len(device.data.of(name)) >= RICH_ROWS:
            return None
        architecture = device.accelerator.architecture
        rules = (rule for rule in self.rules.derived if rule.from_architecture is None)
        return next((r for r in rules if name in r.names and architecture in r.architectures), None)

    def _leant_on(self, device: _Device, name: str, *, n_rows: int) -> Parameters | None:
        """What is known of a thin group's implementation without its rows, nearest first.

        That is the profile's own entry, where that rests on more than the group: one that rests on
        as many rows may be a fit of these, and a fit on top of its own result pulls twice. Then the
        kernel that would stand in, at the rates at which it would, then an entry of the profile
        that stands in, or one of its relatives where the table brings no other kernel. Where the
        profile has a fit, what its architecture has is made of that, and so is what other
        architectures derive from it.
        """
        catalogue, accelerator = self.session.catalogue, device.accelerator
        own = prior_accelerator(catalogue, accelerator.name).calibration.attention.get(name)
        if own is not None and _tells_more(own.provenance, n_rows):
            return _parameters(own)
        rule = self._stand_in(device, name)
        if rule is not None and rule.of in device.values:
            values = device.values[rule.of]
            return _within(values | scaled_values(values, rule.rate_factor, scales=rule.scales))
        if own is not None and own.provenance.figure_class == "assumed":
            return _parameters(own)
        if device.values:
            return None
        is_fitted = own is not None and own.provenance.n_samples is not None
        sources = named_sources(prior_accelerator(catalogue, accelerator.name), "attention")
        for family, source in sources:
            known = source.attention.get(name)
            if known is None:
                continue
            is_own = family in ("", accelerator.architecture)
            if not is_fitted or not (is_own or known.provenance.figure_class == "assumed"):
                return _parameters(known)
        return None

    def _fit(self, device: _Device, name: str, rows: Table) -> None:
        """Parameters, corrections and judgement of one group."""
        free = rows.where(~heldout_mask(rows))
        forward = free.where(free["direction"] == "fwd")
        relative = self._relative(device, name)
        if not len(forward) and relative is None:
            logger.warning(
                "attention %s %s: not fitted; no row of its forward pass but those set aside",
                device.accelerator.name,
                name,
            )
            return
        if not len(forward):
            device.values[name] = relative = relative or {}
            return
        if relative is None and len(forward) < RICH_ROWS:
            relative = self._leant_on(device, name, n_rows=len(forward))
            relative = relative or self._nearest(device, forward)
        values = self._forward(device, name, forward, relative)
        device.values[name] = values
        self._enter(device, name, rows, values)

    def _forward(
        self, device: _Device, name: str, rows: Table, relative: Parameters | None
    ) -> Parameters:
        """Forward parameters of some rows, or what an interrupted run has left of them."""
        accelerator = device.accelerator
        latencies = np.ascontiguousarray(rows["latency_us"], dtype=np.float64)
        key = ["attention", name, attention_sizes(rows), latencies, relative]
        found = self.session.cached(
            [*key, accelerator.compute, accelerator.memory],
            _FittedValues,
            lambda: _FittedValues(self.fitter.forward(rows, accelerator, relative=relative)),
            code=FIT_CODE,
        )
        return found.values

    def _fit_joint(self, device: _Device) -> None:
        """Kernels as training calls them, from the rows of several libraries."""
        for rule in self.rules.joint:
            if device.accelerator.architecture not in rule.architectures:
                continue
            rows = self._rows(device, *rule.implementations)
            rows = rows.where(rows["direction"] == "fwd")
            forward = rows.where(~heldout_mask(rows))
            if len(forward):
                relative = self._relative(device, rule.name)
                values = self._forward(device, rule.name, forward, relative)
                device.values[rule.name] = values
                self._enter(device, rule.name, rows, values, has_residual=False)
                one = msgspec.structs.replace(device.entries[rule.name], **NO_SIDE)
                device.entries[rule.name] = one

    def _enter(
        self,
        device: _Device,
        name: str,
        rows: Table,
        values: Parameters,
        *,
        has_residual: bool = True,
    ) -> None:
        """Make the entry of a group from its forward parameters and its other rows."""
        accelerator = device.accelerator
        free = rows.where(~heldout_mask(rows))
        is_backward = np.isin(rows["direction"], ("bwd", "fwd_bwd"))
        backward_rows = free.where(np.isin(free["direction"], ("bwd", "fwd_bwd")))
        forward = free.where(free["direction"] == "fwd")
        fitted: dict[str, Any] = values | self._backward(accelerator, backward_rows, values)
        entry = AttentionCalibration(
            **fitted,
            residual=self.fitter.residual(forward, accelerator, values) if has_residual else None,
            decode=self._decode(accelerator, free),
            provenance=UNKNOWN,
            backward_provenance=UNKNOWN,
        )
        judged = rows.where(rows["direction"] == "fwd")
        provenance = self.judge.provenance(f"{name} forward", accelerator, judged, entry)
        entry = msgspec.structs.replace(entry, provenance=provenance)
        if len(backward_rows):
            judged = rows.where(is_backward)
            provenance = self.judge.provenance(f"{name} backward", accelerator, judged, entry)
            entry = msgspec.structs.replace(entry, backward_provenance=provenance)
        device.entries[name] = entry

    def _backward(self, accelerator: Accelerator, rows: Table, values: Parameters) -> Parameters:
        if not len(rows):
            share = values["matrix_efficiency_fraction"]
            return {"backward_matrix_efficiency_fraction": 0.8 * share}
        return self.fitter.backward(rows, accelerator, values)

    def _decode(self, accelerator: Accelerator, free: Table) -> AttentionDecode | None:
        rows = free.where(free["direction"] == "fwd_decode")
        if len(rows) < RICH_ROWS:
            return None
        provenance = self.session.provenance(self.judge.sources(rows), n_samples=len(rows))
        values = self.fitter.decode(rows, accelerator)
        return AttentionDecode(**values, provenance=provenance)

    def _of(self, architecture: str) -> list[_Device]:
        return [one for one in self.devices if one.accelerator.architecture == architecture]

    def _donor(self, device: _Device, name: str) -> tuple[_Device, AttentionCalibration] | None:
        """The measured backward pass that a rule names for an entry."""
        architecture = device.accelerator.architecture
        for rule in self.rules.backward:
            wanted = name in rule.implementations or "*" in rule.implementations
            if not wanted or architecture not in rule.architectures:
                continue
            others = [one for near in rule.nearest for one in self._of(near)]
            for other in [device, *self._of(architecture), *others]:
                entry = other.entries.get(rule.of)
                if entry is not None and entry.backward_provenance.figure_class == "fitted":
                    return other, entry
        return None

    def _borrow_backward(self) -> None:
        """Give entries without backward rows the pass ratio of a measured one."""
        for device in self.devices:
            for name, entry in device.entries.items():
                if entry.backward_provenance.figure_class == "fitted":
                    continue
                found = self._donor(device, name)
                if found is not None:
                    device.entries[name] = _borrowed(device.accelerator, entry, *found)

    def _share(self) -> None:
        """Give every device with rows the entries that only its siblings have."""
        own = {device.accelerator.name: dict(device.entries) for device in self.devices}
        for device in self.devices:
            siblings = [one for one in self._of(device.accelerator.architecture) if one != device]
            members = [(one.accelerator, own[one.accelerator.name]) for one in siblings]
            shared = family_attention(members, target=device.accelerator)
            device.entries |= {k: v for k, v in shared.items() if k not in device.entries}

    def _derive(self, rule: DerivedRule) -> None:
        for device in self.devices:
            if device.accelerator.architecture not in rule.architectures:
                continue
            source = [device]
            if rule.from_architecture is not None:
                source = self._of(rule.from_architecture)
            members = [
                (one.accelerator, {rule.of: one.entries[rule.of]})
                for one in source
                if rule.of in one.entries
            ]
            missing = [name for name in rule.names if name not in device.entries]
            if not missing or not members:
                continue
            family = family_attention(members, target=device.accelerator)[rule.of]
            device.entries |= dict.fromkeys(missing, _derived(family, rule))

    def _leave_out(self) -> None:
        """Judge what a device would inherit if it had no rows, and write it down."""
        for device in self.devices:
            siblings = [one for one in self._of(device.accelerator.architecture) if one != device]
            members = [(one.accelerator, _fitted(one.entries)) for one in siblings]
            inherited = family_attention(members, target=device.accelerator)
            for name, entry in device.entries.items():
                rows = device.data.of(name)
                rows = rows.where(rows["direction"] == "fwd")
                if name not in inherited or not len(rows):
                    continue
                errors = self.judge.errors(device.accelerator, rows, inherited[name])
                self.session.report(f"attention {device.accelerator.name} {name}", left_out=errors)
                noted = msgspec.structs.replace(
                    entry.provenance, left_out_median_ape_fraction=errors.median_ape_fraction
                )
                device.entries[name] = msgspec.structs.replace(entry, provenance=noted)

    def _note_errors(self) -> None:
        """Judge forward calls set aside by device and type, each under the entry of its library."""
        for device in self.devices:
            forward = device.data.rows["direction"] == "fwd"
            forward &= (device.data.names != "") & (device.data.names != UNFUSED)
            rows = device.data.rows.where(forward)
            aside = heldout_mask(rows)
            calibration = Calibration(attention=device.entries)
            for dtype in sorted(set(map(str, rows["dtype"][aside]))):
                own = rows["dtype"] == dtype
                self.session.note_errors(
                    self.judge.errors_by_library(
                        device.accelerator, rows.where(own & aside), calibration
                    ),
                    device=device.accelerator.name,
                    family="attention",
                    dtype=dtype,
                    part="forward",
                    n_fitted=int((own & ~aside).sum()),
                )


def _tells_more(provenance: Provenance, n_rows: int) -> bool:
    """Whether constants rest on more than so many rows of the device."""
    if provenance.n_samples is None:
        return provenance.figure_class == "inherited"
    return provenance.n_samples > n_rows


def _parameters(entry: AttentionCalibration) -> Parameters:
    """Forward parameters of an entry."""
    names = (*parameter_ranges().forward, *NO_BLOCKS)
    return _within({name: getattr(entry, name) for name in names})


def _within(values: Parameters) -> Parameters:
    """Parameters where a search may start: what stands for another entry lacks some of them."""
    inside = {
        name: min(max(values[name], one.low), one.high)
        for name, one in parameter_ranges().forward.items()
    }
    return inside | {name: values[name] for name in NO_BLOCKS}


def _fitted(entries: dict[str, AttentionCalibration]) -> dict[str, AttentionCalibration]:
    return {k: v for k, v in entries.items() if v.provenance.figure_class == "fitted"}


def _borrowed(
    accelerator: Accelerator,
    entry: AttentionCalibration,
    donor: _Device,
    other: AttentionCalibration,
) -> AttentionCalibration:
    same = donor.accelerator.architecture == accelerator.architecture
    spread = BORROWED_SPREAD if same else FAR_SPREAD
    measured = other.backward_provenance
    provenance = Provenance(
        figure_class="inherited",
        source=f"backward over forward time as on {donor.accelerator.name}: {measured.source}",
        date=measured.date,
        code_version=measured.code_version,
        relative_spread_fraction=float(np.hypot(measured.relative_spread_fraction, spread)),
    )
    changed = msgspec.structs.replace(
        entry,
        backward_latency_ratio=other.backward_latency_ratio,
        backward_side_ratio=other.backward_side_ratio,
        backward_launch_s=other.backward_launch_s,
        backward_provenance=provenance,
    )
    return with_pass_ratio(accelerator, changed, pass_ratio(donor.accelerator, other))


def _derived(family: AttentionCalibration, rule: DerivedRule) -> AttentionCalibration:
    provenance = Provenance(
        figure_class="assumed",
        source=rule.source,
        date=family.provenance.date,
        code_version=family.provenance.code_version,
        relative_spread_fraction=rule.spread,
    )
    backward = msgspec.structs.replace(
        provenance,
        relative_spread_fraction=max(
            rule.spread, family.backward_provenance.relative_spread_fraction
        ),
    )
    scaled = scaled_attention(family, rule.rate_factor, scales=rule.scales)
    return msgspec.structs.replace(
        scaled, decode=None, provenance=provenance, backward_provenance=backward
    )


def attention_calibrations(
    session: Session,
) -> dict[str, dict[str, AttentionCalibration]]:
    """Attention parameters by accelerator profile and implementation.

    Parameters
    ----------
    session
        Tables of public measurements, profiles by device name, the date and the log.

    Returns
    -------
    dict
        One entry by device with rows and implementation; devices without rows inherit through
        `family_attention`.
    """
    rows = attention_rows(session)
    return AttentionCalibrator(session, [_Device(one) for one in rows]).run()
