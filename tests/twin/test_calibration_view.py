"""Every family of a device says on what it rests."""

from __future__ import annotations

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.catalogue import Catalogue
from twin.calibration_view import BASIS_CLASS, best_fits, calibration_summary, fit_rows
from twin.catalogue_view import CatalogueView
from twin.scenario.resolve import Catalogues


def test_a_device_with_fits_of_its_own_says_so():
    fits = fit_rows(Catalogue().accelerator("h200-sxm"))
    gemm = next(fit for fit in fits if fit.name == "gemm bf16")
    assert gemm.basis == "fitted"
    assert gemm.n_samples
    figure_class, words = calibration_summary(fits)[0]
    assert figure_class == "fitted"
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


def test_a_fit_is_of_the_class_that_its_constants_have_in_the_catalogue():
    view = CatalogueView(Catalogues.with_folders(()))
    seen = set()
    for name in ("h200-sxm", "a100-pcie-40gb", "a800-sxm-80gb", "b200-power-limited", "host-cpu"):
        details = view.details("accelerator", name)
        classes = {figure.key: figure.figure_class for figure in details.figures}
        for fit in details.fits:
            shown = classes.get(f"calibration.{fit.family}.{fit.variant}.launch_s")
            if shown is not None:
                assert shown == BASIS_CLASS[fit.basis], (name, fit.name)
                seen.add(shown)
    assert seen == {"measured", "fitted", "assumed"}


def test_no_device_shows_a_count_of_samples_of_another_one():
    fits = fit_rows(Catalogue().accelerator("b200-sxm"))
    gemm = next(fit for fit in fits if fit.name == "gemm fp32")
    assert gemm.basis == "inherited"
    assert not [fit for fit in fits if not fit.is_own and fit.n_samples is not None]


def test_libraries_of_a_dtype_that_comes_from_nearer_are_left_out():
    # Predictors take a dtype with the libraries of its own source.
    names = {fit.name for fit in fit_rows(Catalogue().accelerator("a100-pcie-40gb"))}
    assert "gemm fp32 torch-bmm" in names
    assert "gemm fp32 torch-graph" not in names
