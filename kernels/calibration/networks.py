"""Fit of the networks of ``kernels/all_reduce/networks.toml``.

``python -m kernels.calibration.networks --from DIR --out FILE`` writes the file anew: the facts of
each network stay, its parameters and their errors are those of the fit. Parameters that few rows
determine stay near what networks of this kind show.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from hardware_profiles.calibration import CollectiveCalibration
from hardware_profiles.errors import TweelingError
from hardware_profiles.whole_files import write_text_whole
from kernels.all_reduce.groups import NetworkMachine
from kernels.all_reduce.networks import MeasuredNetwork, NetworkParameters, known_networks
from kernels.calibration.collective_rows import COLLECTIVE_TABLES, CollectiveRows, node_rows
from kernels.calibration.collectives import (
    collective_calibrations,
    family_collectives,
    set_aside,
)
from kernels.calibration.render import rendered_array
from kernels.calibration.session import Session
from kernels.calibration.simplex import (
    Bound,
    FittedErrors,
    FloatArray,
    fit_parameters,
    judge,
    robust_loss,
)
from kernels.prediction.collectives import CollectiveSetting, CollectiveTimes
from kernels.prediction.machines import collective_machine, implementation_machine

__all__ = ["NETWORK_BOUNDS", "NetworkFitter", "fitted_networks", "node_count_errors"]

logger = logging.getLogger(__name__)

NETWORK_BOUNDS: dict[str, Bound] = {
    "ring_efficiency_fraction": Bound(low=0.02, high=0.97, start=0.85, prior_sigma=0.25),
    "tree_efficiency_fraction": Bound(low=0.02, high=0.95, start=0.75, prior_sigma=0.25),
    "latency_s": Bound(low=3e-6, high=400e-6, start=25e-6, prior_sigma=0.7),
    "latency_per_doubling_s": Bound(low=1e-6, high=60e-6, start=8e-6, prior_sigma=0.5),
    "latency_per_hop_s": Bound(low=0.5e-6, high=100e-6, start=12e-6, prior_sigma=0.6),
    "chunk_ratio": Bound(low=0.3, high=8.0, start=2.0, prior_sigma=0.4),
    "decline_exponent": Bound(low=1e-3, high=0.5, start=0.01, prior_sigma=0.8),
}
"""Range, start and firmness of each parameter; the starts are the middle of NCCL and RCCL fits."""

HEADING = (
    "# Networks that collectives were measured on: what is known of each, by the texts of the\n"
    "# link, device and library columns, and what was fitted.\n"
    "# Written by: python -m kernels.calibration.networks\n"
    "\n"
)

PRIOR_ROWS = 0.05
"""Weight of the priors, in rows: little, since networks differ. [1]"""

THIN_ROWS = 20
SMALLEST_SPREAD = 0.1
THIN_SPREAD = 0.4


@dataclass
class NetworkFitter:
    """Fits one network after the other; keeps the compiled model between them."""

    calibrations: Mapping[str, Mapping[str, CollectiveCalibration]]
    """By accelerator and operation."""
    times: CollectiveTimes = field(default_factory=CollectiveTimes)

    def predict_s(self, rows: CollectiveRows, network: NetworkMachine) -> FloatArray:
        """Times of rows over their network with these parameters. [s]"""
        fitted = self.calibrations[rows.accelerator.name][rows.operation]
        setting = CollectiveSetting(
            rows.operation, rows.library, rows.switch_adds, rows.network, True
        )
        library = implementation_machine(
            fitted.implementations.get(rows.library), rows.accelerator.memory.bandwidth_bytes_per_s
        )
        machine = collective_machine(fitted, switch_adds=rows.switch_adds)
        return self.times.network_times_s(rows.sizes, setting, library, machine, network)

    def fit(self, sets: Sequence[CollectiveRows]) -> dict[str, float]:
        """Parameters of one network on all its rows."""
        measured_s = np.concatenate([rows.measured_s for rows in sets])
        weights = np.concatenate([rows.weights for rows in sets])

        def loss(values: dict[str, float]) -> float:
            machine = NetworkMachine(**values)
            predicted = np.concatenate([self.predict_s(rows, machine) for rows in sets])
            return robust_loss(predicted, measured_s, weights)

        weight = PRIOR_ROWS / max(len(measured_s), 1)
        return fit_parameters(loss, NETWORK_BOUNDS, prior_weight=weight, n_evaluations=700)

    def errors(
        self, sets: Sequence[CollectiveRows], values: Mapping[str, float]
    ) -> FittedErrors | None:
        """Errors of large messages, or of all where none is large."""
        machine = NetworkMachine(**values)
        large = [rows.where(rows.is_large) for rows in sets if rows.is_large.any()] or list(sets)
        if not large:
            return None
        predicted = np.concatenate([self.predict_s(rows, machine) for rows in large])
        return judge(predicted, np.concatenate([rows.measured_s for rows in large]))


def _of_network(sets: Sequence[CollectiveRows], network: MeasuredNetwork) -> list[CollectiveRows]:
    return [rows for rows in sets if rows.network == network]


def node_count_errors(
    fitter: NetworkFitter, sets: Sequence[CollectiveRows]
) -> dict[int, FittedErrors]:
    """Errors on each number of nodes by a fit that has not seen it."""
    counts = sorted({int(n) for rows in sets for n in rows.sizes[:, 1] / rows.sizes[:, 2]})
    found = {}
    for count in counts:
        unseen, seen = [], []
        for rows in sets:
            mask = rows.sizes[:, 1] / rows.sizes[:, 2] == count
            unseen += [rows.where(mask)] if mask.any() else []
            seen += [rows.where(~mask)] if (~mask).any() else []
        errors = fitter.errors(unseen, fitter.fit(seen)) if seen else None
        if errors is not None:
            found[count] = errors
    return found


def _provenance_source(network: MeasuredNetwork, n_counts: int) -> str:
    path = ", ".join(network.libraries).strip(", ") or "the vendor's library"
    return f"all rows of {path} on this network, {n_counts} numbers of nodes"


def fitted_networks(
    session: Session, calibrations: Mapping[str, Mapping[str, CollectiveCalibration]]
) -> tuple[MeasuredNetwork, ...]:
    """Every known network with parameters fitted on the session's tables.

    Parameters
    ----------
    session
        Tables and the day.
    calibrations
        In-node parameters by accelerator and operation, for every device on a network.

    Returns
    -------
    tuple
        Networks without rows keep the parameters they have.
    """
    sets = [rows for rows in node_rows(session, across_nodes=True) if rows.weights.sum() > 0]
    fitter = NetworkFitter(calibrations)
    found = []
    for network in known_networks():
        own = _of_network(sets, network)
        found.append(_refitted(session, fitter, network, own) if own else network)
    return tuple(found)


def _refitted(
    session: Session,
    fitter: NetworkFitter,
    network: MeasuredNetwork,
    own: Sequence[CollectiveRows],
) -> MeasuredNetwork:
    values = fitter.fit(own)
    seen, unseen = set_aside(own, is_seen=True), set_aside(own, is_seen=False)
    heldout = fitter.errors(unseen, fitter.fit(seen)) if seen and unseen else None
    errors = fitter.errors(own, values)
    what = f"{network.link} {network.libraries}"
    session.report(what, heldout=heldout, fitted=errors)
    for count, left_out in node_count_errors(fitter, own).items():
        session.report(f"{what}, {count} nodes", left_out=left_out)
    n_rows = sum(len(rows.sizes) for rows in own)
    counts = {float(n) for rows in own for n in rows.sizes[:, 1] / rows.sizes[:, 2]}
    spread = max(errors.log_spread if errors else 0.0, SMALLEST_SPREAD)
    provenance = session.provenance(
        _provenance_source(network, len(counts)),
        n_samples=n_rows,
        heldout=heldout,
        spread=spread if n_rows >= THIN_ROWS else THIN_SPREAD,
    )
    fitted = NetworkParameters(**values, provenance=provenance)
    return msgspec.structs.replace(network, fitted=fitted)


def with_relatives(
    session: Session, calibrations: Mapping[str, Mapping[str, CollectiveCalibration]]
) -> dict[str, Mapping[str, CollectiveCalibration]]:
    """Calibrations of every device on a network: its own, or its architecture's."""
    complete = dict(calibrations)
    measured = [(session.accelerator(name), one) for name, one in calibrations.items()]
    for rows in node_rows(session, across_nodes=True):
        name, architecture = rows.accelerator.name, rows.accelerator.architecture
        members = [(a, one) for a, one in measured if a and a.architecture == architecture]
        if name not in complete and members:
            complete[name] = family_collectives(members)
    return complete


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m kernels.calibration.networks``: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m kernels.calibration.networks")
    parser.add_argument("--from", dest="folder", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    session = Session(folder=options.folder)
    try:
        session.require_tables(COLLECTIVE_TABLES)
        calibrations = with_relatives(session, collective_calibrations(session))
        networks = fitted_networks(session, calibrations)
        write_text_whole(options.out, HEADING + rendered_array("networks", networks))
    except TweelingError as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except OSError as refusal:
        print(f"--out {options.out}: cannot be written: {refusal.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
