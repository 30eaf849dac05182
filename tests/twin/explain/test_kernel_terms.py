"""What explanations say of single kernels."""

import pytest

from hardware_profiles.calibration import OperationCalibration, Provenance
from twin.explain.kernel_terms import operation_formula

PROVENANCE = Provenance(figure_class="fitted", source="rows", relative_spread_fraction=0.1)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "floors + traffic · ratio / bandwidth"),
        ({"row_s": 1e-7}, "floors + (traffic · ratio / bandwidth + rows · row time)"),
        ({"element_s": 1e-10}, "floors + smooth max(traffic · ratio / bandwidth, arithmetic)"),
        (
            {"element_s": 1e-10, "row_s": 1e-7, "overlap_exponent": 1.0, "fill_rows": 2.0},
            "floors + (traffic · ratio / bandwidth + arithmetic + rows · row time)"
            " · (1 + rows that fill the device / rows)",
        ),
        (
            {"held_row_s": 2e-6, "serial_row_s": 1e-9},
            "floors + smooth max(traffic · ratio / bandwidth, "
            "arithmetic, or rows · latency / rows under way) + rows · time in one block",
        ),
        (
            {"block_s": 4e-5},
            "floors + smooth max(traffic · ratio / bandwidth, part of one block)",
        ),
    ],
)
def test_the_formula_of_an_operation_is_that_of_its_constants(parameters, said):
    fitted = OperationCalibration(**parameters, provenance=PROVENANCE)
    assert operation_formula(fitted) == f"all calls together: {said}"
