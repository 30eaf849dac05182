"""Which backend is chosen, and what is said when it is missing."""

import types

import pytest

from kernels import backends
from kernels.backends import BackendError, Device, find_device, requested_backend


def test_argument_comes_before_the_environment():
    assert requested_backend("cpu", {"TWEELING_BACKEND": "cuda"}) == "cpu"
    assert requested_backend(None, {"TWEELING_BACKEND": "rocm"}) == "rocm"
    assert requested_backend("auto", {"TWEELING_BACKEND": "rocm"}) == "rocm"
    assert requested_backend(None, {}) == "auto"


@pytest.mark.parametrize(
    ("argument", "environ", "origin"),
    [("tpu", {}, "--backend"), (None, {"TWEELING_BACKEND": "tpu"}, "TWEELING_BACKEND")],
)
def test_an_unknown_backend_names_its_origin_and_the_choices(argument, environ, origin):
    with pytest.raises(BackendError, match=f"{origin}.*'tpu'.*auto, cuda, rocm, cpu"):
        requested_backend(argument, environ)


def test_the_host_is_always_there():
    device = find_device("cpu", environ={})
    assert device.backend == "cpu"
    assert device.n_units >= 1
    assert device.slug
    assert all(c.isalnum() or c == "-" for c in device.slug)


def test_missing_driver_and_package_are_said_in_one_line(monkeypatch):
    monkeypatch.setattr(backends, "_has_driver", lambda _name: False)
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BackendError) as caught:
        find_device("cuda", environ={})
    text = str(caught.value)
    assert "no Nvidia driver" in text
    assert "neither torch nor cupy" in text
    assert "\n" not in text


def test_auto_falls_back_to_the_host(monkeypatch):
    monkeypatch.setattr(backends, "_accelerator", lambda _name: None)
    assert find_device(None, environ={}).backend == "cpu"


def fake_torch(*, hip=None, cache_bytes=50 * 2**20):
    properties = types.SimpleNamespace(
        name="NVIDIA H200",
        major=9,
        minor=0,
        multi_processor_count=132,
        total_memory=150_754_820_096,
        L2_cache_size=cache_bytes,
        gcnArchName="gfx942:sramecc+",
    )
    cuda = types.SimpleNamespace(
        is_available=lambda: True,
        current_device=lambda: 0,
        get_device_properties=lambda _index: properties,
    )
    return types.SimpleNamespace(cuda=cuda, version=types.SimpleNamespace(hip=hip))


def test_a_cuda_device_is_read_from_torch():
    device = backends._torch_device(fake_torch(), "cuda")
    assert isinstance(device, Device)
    assert (device.vendor, device.architecture, device.n_units) == ("nvidia", "sm_90", 132)
    assert device.slug == "nvidia-h200"
    assert backends._torch_device(fake_torch(), "rocm") is None


def test_the_large_cache_of_amd_parts_counts():
    device = backends._torch_device(fake_torch(hip="7.0", cache_bytes=4 * 2**20), "rocm")
    assert device.architecture == "gfx942"
    assert device.cache_bytes == 256 * 2**20
