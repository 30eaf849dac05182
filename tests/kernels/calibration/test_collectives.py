"""Fits of collectives recover planted parameters and reach their bars on groups set aside."""

from dataclasses import replace

import numpy as np
import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.calibration.collective_fit import VENDOR_BOUNDS, CollectiveFitter
from kernels.calibration.collective_rows import (
    CollectiveRows,
    is_of_another_machine,
    node_rows,
    weights,
)
from kernels.calibration.collectives import (
    collective_calibrations,
    family_collectives,
    fit_collectives,
    judged_errors,
    set_aside,
)
from kernels.calibration.networks import NetworkFitter, node_count_errors
from kernels.calibration.networks import main as networks_main
from kernels.calibration.session import Session
from kernels.importers.request import ImportRequest
from kernels.measurement_tables import Table

TRUTH = {
    "bandwidth_efficiency_fraction": 0.83,
    "latency_s": 17e-6,
    "latency_per_rank_s": 2e-6,
    "local_copy_fraction": 0.5,
    "pipeline_exponent": 0.9,
    "low_latency_fraction": 0.4,
    "low_latency_slowdown": 1.5,
    "in_switch_gain": 1.0,
}


OWN_KERNELS = {
    "kernel_latency_s": 4e-6,
    "kernel_latency_per_rank_s": 0.3e-6,
    "kernel_efficiency_fraction": 0.7,
    "kernel_limit_bytes": 8e6,
}


def planted_rows(
    fitter,
    *,
    operation="all_gather",
    of_ranks=(2.0, 4.0, 8.0),
    truth=TRUTH,
    accelerator="h100-sxm",
    library="vendor",
):
    sizes = [
        (2.0**octave, ranks, ranks, 450e9, 1.0) for octave in range(10, 33) for ranks in of_ranks
    ]
    n_rows = len(sizes)
    rows = CollectiveRows(
        accelerator=Catalogue().accelerator(accelerator),
        operation=operation,
        library=library,
        switch_adds=False,
        wires_kind="switch",
        network=None,
        sizes=np.array(sizes),
        measured_s=np.ones(n_rows),
        heldout=np.zeros(n_rows, dtype=bool),
        weights=np.ones(n_rows),
    )
    times_s = fitter.predict_s(rows, truth, {} if library == "vendor" else OWN_KERNELS)
    return CollectiveRows(
        **{name: getattr(rows, name) for name in rows.__dataclass_fields__ if name != "measured_s"},
        measured_s=times_s,
    )


def test_a_fit_recovers_planted_parameters():
    fitter = CollectiveFitter()
    rows = planted_rows(fitter)
    fitted = fit_collectives(fitter, [rows])
    values = fitted.vendor["h100-sxm", "all_gather"]
    efficiency = values["bandwidth_efficiency_fraction"]
    assert efficiency == pytest.approx(TRUTH["bandwidth_efficiency_fraction"], rel=0.03)
    assert values["latency_s"] == pytest.approx(TRUTH["latency_s"], rel=0.15)
    assert judged_errors(fitter, fitted, [rows]).median_ape_fraction < 0.01
    assert all(b.low <= values[name] <= b.high for name, b in VENDOR_BOUNDS.items())


def test_ranks_that_an_operation_lacks_are_told_by_the_device_s_other_operations():
    # Pairs alone cannot tell the wires' share from the copy of each rank's own shard.
    fitter, truth = CollectiveFitter(), TRUTH | {"local_copy_fraction": 0.1}
    pairs = planted_rows(fitter, operation="all_reduce", of_ranks=(2.0,), truth=truth)
    others = [
        planted_rows(fitter, operation=name, truth=truth)
        for name in ("all_gather", "reduce_scatter")
    ]
    unseen = planted_rows(fitter, operation="all_reduce", of_ranks=(8.0,), truth=truth)
    large = unseen.where(unseen.sizes[:, 0] >= 2.0**28)

    def missed(sets):
        return judged_errors(fitter, fit_collectives(fitter, sets), [large]).median_ape_fraction

    assert missed([pairs, *others]) < 0.02 < missed([pairs])


def test_the_switch_adds_in_all_reduces_only():
    fitter = CollectiveFitter()
    gains = []
    for operation in ("all_reduce", "all_gather", "reduce_scatter"):
        rows = replace(planted_rows(fitter, operation=operation), switch_adds=True)
        times_s = fitter.predict_s(rows, TRUTH | {"in_switch_gain": 1.3}, {})
        gains.append((rows.measured_s / times_s).max())
    assert gains == [pytest.approx(1.3, rel=0.01), 1.0, 1.0]


def all_reduces(fitter, *, accelerator, library="vendor"):
    return planted_rows(fitter, operation="all_reduce", accelerator=accelerator, library=library)


def test_libraries_of_a_vendor_s_other_devices_are_taken_over(monkeypatch):
    fitter = CollectiveFitter()
    sets = [
        all_reduces(fitter, accelerator="h100-sxm"),
        all_reduces(fitter, accelerator="h100-sxm", library="trtllm"),
        all_reduces(fitter, accelerator="h200-sxm"),
        all_reduces(fitter, accelerator="h200-sxm", library="sglang-graph"),
        all_reduces(fitter, accelerator="mi300x"),
    ]
    monkeypatch.setattr("kernels.calibration.collectives.node_rows", lambda _session: sets)
    found = collective_calibrations(Session(folder=None))
    classes = {
        name: {
            library: one.provenance.figure_class
            for library, one in operations["all_reduce"].implementations.items()
        }
        for name, operations in found.items()
    }
    assert classes == {
        "h100-sxm": {"sglang-graph": "inherited", "trtllm": "fitted"},
        "h200-sxm": {"sglang-graph": "fitted", "trtllm": "inherited"},
        "mi300x": {},
    }
    catalogue = Catalogue()
    members = [(catalogue.accelerator(name), found[name]) for name in ("h100-sxm", "h200-sxm")]
    family = family_collectives(members)["all_reduce"].implementations
    assert family["trtllm"].provenance.source.endswith(": h100-sxm")


def test_a_library_of_a_device_without_rows_of_the_vendor_s_is_left_out():
    fitter = CollectiveFitter()
    alone = all_reduces(fitter, accelerator="h100-sxm", library="trtllm")
    assert fit_collectives(fitter, [alone]).libraries == {}


def test_rows_of_another_machine_are_judged_and_not_fitted():
    columns = {"device": "RTX-PRO-6000-BSE", "op": "all_reduce", "source_id": "AIC"}
    libraries = ("vllm-0.19.0:vLLM_custom_graph", "vllm-0.24.0:vLLM_custom_graph")
    table = Table(
        columns={name: np.array([text] * 2, dtype=object) for name, text in columns.items()}
        | {name: np.full(2, 2.0) for name in ("ranks", "nodes")}
        | {"message_bytes": np.full(2, 2.0**24), "library": np.array(libraries, dtype=object)}
    )
    assert is_of_another_machine(table).tolist() == [True, False]
    assert weights(table).tolist() == [0.0, 0.5]
    table.columns["source_id"][:] = "mine"  # somebody else's rows of the same library
    assert not is_of_another_machine(table).any()
    fitter = CollectiveFitter()
    vendor, own = (
        all_reduces(fitter, accelerator="rtx-pro-6000-server", library=library)
        for library in ("vendor", "trtllm")
    )
    slow = replace(own, measured_s=3.0 * own.measured_s, weights=0.0 * own.weights)
    fitted = fit_collectives(fitter, [vendor, own, slow])
    plain = fit_collectives(fitter, [vendor, own])
    assert fitted.libraries == plain.libraries
    assert ("rtx-pro-6000-server", "trtllm") not in fit_collectives(
        fitter, [vendor, slow]
    ).libraries
    assert judged_errors(fitter, plain, [slow]).median_ape_fraction == pytest.approx(
        2 / 3, abs=0.05
    )


def test_wires_that_the_user_names_stand_for_empty_ones(tmp_path):
    header = "device,op,dtype,ranks,nodes,link,message_bytes,library,latency_us,source_id"
    lines = [
        f"H100-SXM5-80GB,all_reduce,bf16,8,1,{link},{2**24},nccl-2,150.0,mine"
        for link in ("", "PCIe5")
    ]
    (tmp_path / "collectives.csv").write_text("\n".join((header, *lines)) + "\n")
    request = ImportRequest(catalogue=Catalogue(), link="NVLink4+NVSwitch")
    kinds = {rows.wires_kind for rows in node_rows(Session(folder=tmp_path, request=request))}
    assert kinds == {"switch", "rings"}
    assert {rows.wires_kind for rows in node_rows(Session(folder=tmp_path))} == {"rings"}


def test_rows_that_mean_nothing_are_named_and_left_out(tmp_path, caplog):
    header = "device,op,dtype,ranks,nodes,link,message_bytes,library,latency_us,source_id"
    good = "H100-SXM5-80GB,all_reduce,bf16,8,1,NVLink4+NVSwitch"
    bad = {
        "operation 'all_shuffle' is not known": good.replace("all_reduce", "all_shuffle"),
        "wires 'Carrier pigeon' are not known": good.replace("NVLink4+NVSwitch", "Carrier pigeon"),
        "dtype 'bf17' is not known": good.replace("bf16", "bf17"),
        "device 'Colossus': no profile of this name": good.replace("H100-SXM5-80GB", "Colossus"),
    }
    lines = [f"{start},{2**24},nccl-2,150.0,mine" for start in (good, *bad.values())]
    host = f"{good},{2**24},nccl-2,150.0,mine,host_memory"
    text = "\n".join((f"{header},flag", *(f"{line}," for line in lines), host)) + "\n"
    (tmp_path / "collectives.csv").write_text(text)
    (rows,) = node_rows(Session(folder=tmp_path))
    assert len(rows.sizes) == 1
    on_host, *others = caplog.messages
    assert on_host.startswith("collectives: rows flagged host_memory (1) are left out")
    assert sorted(others) == sorted(
        f"collectives: {words}; its rows (1) are left out" for words in bad
    )


def test_errors_by_type_stand_beside_those_of_operations(monkeypatch):
    fitter = CollectiveFitter()
    rows = all_reduces(fitter, accelerator="h100-sxm")
    octaves = np.log2(rows.sizes[:, 0])
    dtypes = np.where(octaves % 2 == 0.0, "bf16", "fp32").astype(object)
    heldout = rows.sizes[:, 1] == 8.0
    sets = [replace(rows, dtypes=dtypes, heldout=heldout)]
    monkeypatch.setattr("kernels.calibration.collectives.node_rows", lambda _session: sets)
    session = Session(folder=None)
    collective_calibrations(session)
    noted = {(one.dtype, one.part): one for one in session.noted}
    large = rows.is_large & heldout
    for dtype in ("bf16", "fp32"):
        report = noted[dtype, None]
        assert report.device == "h100-sxm"
        assert report.provenance.n_samples == np.sum(dtypes == dtype)
        assert report.provenance.n_heldout == np.sum(large & (dtypes == dtype))
        assert report.is_part
    whole = noted[None, "over all links"]
    assert whole.device is None
    assert whole.is_part
    assert whole.provenance.n_heldout == large.sum()


@pytest.fixture(scope="module")
def hopper_rows(shared_data):
    session = Session(folder=shared_data("measurements"))
    names = ("h100-sxm", "h200-sxm")
    return [rows for rows in node_rows(session) if rows.accelerator.name in names]


def test_groups_set_aside_on_switched_machines_are_within_eight_per_cent(hopper_rows):
    fitter = CollectiveFitter()
    fitted = fit_collectives(fitter, set_aside(hopper_rows, is_seen=True))
    errors = judged_errors(fitter, fitted, set_aside(hopper_rows, is_seen=False))
    assert errors.n_rows > 100
    assert errors.median_ape_fraction < 0.08


def test_a_family_is_between_its_members(hopper_rows, monkeypatch):
    monkeypatch.setattr(
        "kernels.calibration.collectives.node_rows",
        lambda _session: [rows for rows in hopper_rows if rows.operation == "all_gather"],
    )
    session = Session(folder=None)
    found = collective_calibrations(session)
    catalogue = Catalogue()
    members = [(catalogue.accelerator(name), one) for name, one in found.items()]
    family = family_collectives(members)["all_gather"]
    shares = [one["all_gather"].bandwidth_efficiency_fraction for _, one in members]
    assert min(shares) <= family.bandwidth_efficiency_fraction <= max(shares)
    assert family.provenance.figure_class == "inherited"
    provenance = found["h200-sxm"]["all_gather"].provenance
    assert provenance.n_heldout > 0
    assert provenance.heldout_mean_ape_fraction is not None


def test_numbers_of_nodes_left_out_are_within_a_quarter(shared_data):
    """NCCL on MareNostrum 5: each of 4, 8 and 32 nodes by a fit on the other two."""
    session = Session(folder=shared_data("measurements"))
    catalogue = Catalogue()
    rows = [
        one
        for one in node_rows(session, across_nodes=True)
        if one.network.libraries == ("nccl",) and "MareNostrum" in one.network.link
    ]
    name = rows[0].accelerator.name
    calibrations = {name: catalogue.accelerator("h100-sxm").calibration.collective}
    errors = node_count_errors(NetworkFitter(calibrations), rows)
    assert sorted(errors) == [4, 8, 32]
    assert all(one.median_ape_fraction < 0.25 for one in errors.values())


def test_networks_refuse_a_missing_folder_and_write_nothing(tmp_path, capsys):
    out = tmp_path / "networks.toml"
    assert networks_main(["--from", str(tmp_path / "nope"), "--out", str(out)]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert not out.exists()
