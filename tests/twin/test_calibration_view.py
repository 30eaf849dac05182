"""Every family of a device says on what it rests."""

from __future__ import annotations

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.catalogue import Catalogue
from twin.calibration_view import best_fits, calibration_summary, fit_rows


def test_a_device_with_fits_of_its_own_says_so():
    fits = fit_rows(Catalogue().accelerator("h200-sxm"))
    gemm = next(fit for fit in fits if fit.name == "gemm bf16")
    assert gemm.basis == "fitted"
    assert gemm.n_samples
    figure_class, words = calibration_summary(fits)[0]
    assert figure_class == "measured"
    assert f"{gemm.n_samples} samples" in words


def test_a_variant_names_what_it_was_taken_over_from():
    fits = fit_rows(Catalogue().accelerator("a800-sxm-80gb"))
    gemm = next(fit for fit in fits if fit.name == "gemm bf16")
    assert gemm.words == "inherited from a100-sxm-80gb"


def test_every_device_has_a_row_for_each_family_that_predictions_use():
    catalogue = Catalogue()
    for name in catalogue.names("accelerator"):
        thing = catalogue.load("accelerator", name).thing
        if not isinstance(thing, Accelerator):  # announced, and not all figures are known
            continue
        fits = best_fits(fit_rows(thing))
        assert {"gemm", "attention", "memory_bound", "collective"} <= set(fits), name


def test_products_that_a_device_has_no_rate_for_are_left_out():
    fits = fit_rows(Catalogue().accelerator("host-cpu"))
    assert not [fit for fit in fits if fit.name == "gemm fp8"]
