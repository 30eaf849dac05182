"""The version is known, or it is said that nothing is installed."""

import importlib.metadata

from hardware_profiles.own_version import tweeling_version


def test_folders_without_an_installation_have_a_version_too(monkeypatch):
    assert tweeling_version() == importlib.metadata.version("tweeling")

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert tweeling_version() == "source"
