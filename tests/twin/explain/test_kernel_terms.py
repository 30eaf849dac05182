"""What explanations say of single kernels."""

import pytest

from hardware_profiles.calibration import OperationCalibration, Provenance
from twin.explain.kernel_terms import operation_formula

PROVENANCE = Provenance(figure_class="fitted", source="rows", relative_spread_fraction=0.1)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "row time) + traffic · ratio / bandwidth"),
        ({"element_s": 1e-10}, "smooth max(traffic · ratio / bandwidth, arithmetic)"),
        (
            {"element_s": 1e-10, "overlap_exponent": 1.0, "fill_rows": 2.0},
            "(traffic · ratio / bandwidth + arithmetic) · (1 + rows that fill the device / rows)",
        ),
    ],
)
def test_the_formula_of_an_operation_is_that_of_its_constants(parameters, said):
    fitted = OperationCalibration(**parameters, provenance=PROVENANCE)
    assert operation_formula(fitted).endswith(said)
