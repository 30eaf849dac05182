"""The host's profile is measured: it gives its own measurements back."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.gemm.machine import gemm_machine
from kernels.gemm.model import GemmShape, gemm_time

MEASURED = Path(__file__).parents[2] / "kernels" / "measured" / "host-cpu" / "gemm.csv"
WIDTH = {"fp32": 4.0, "fp64": 8.0}


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_the_host_profile_gives_its_measurements_back(dtype):
    host = Catalogue().accelerator("host-cpu")
    fitted = host.calibration.gemm[dtype]
    machine = gemm_machine(
        host,
        fitted,
        peak_flop_per_s=host.compute.peak_flop_per_s[dtype],
        fitted_dtype=dtype,
    )
    errors = []
    with MEASURED.open(newline="") as file:
        for row in csv.DictReader(file):
            both_cores = "threads2" in row["case"]
            # One row is a matrix-vector product, which the tiles of the model do not describe.
            if row["dtype"] != dtype or not both_cores or row["m"] == "1":
                continue
            sizes = (float(row["m"]), float(row["n"]), float(row["k"]))
            shape = GemmShape(*sizes, WIDTH[dtype], WIDTH[dtype], WIDTH[dtype], 1.0)
            measured_s = float(row["latency_us"]) * 1e-6
            errors.append(abs(gemm_time(shape, machine).time_s / measured_s - 1.0))
    assert len(errors) == 9
    assert sum(errors) / len(errors) < 0.10
    assert max(errors) < 0.35
