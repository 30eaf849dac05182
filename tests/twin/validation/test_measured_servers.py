"""Servers whose source has published their kernels beside its runs."""

import pytest

from hardware_profiles.catalogue import Catalogue
from twin.validation.measured_servers import device_text, measured_servers, server_accelerator
from twin.validation.run_machines import RunMachines
from twin.validation.source_groups import source_group

CATALOGUE = Catalogue()


@pytest.mark.parametrize("server", measured_servers(), ids=lambda server: server.source_id)
def test_a_server_differs_from_its_device_in_what_its_kernels_tell(server):
    device = CATALOGUE.accelerator(server.device)
    own = CATALOGUE.accelerator(server.accelerator)
    for part in ("compute", "memory", "link", "power", "architecture"):
        assert getattr(own, part) == getattr(device, part)
    # The energy of an operation is fitted on training runs: a server takes that of its family.
    energies = [one.calibration.power.energy_per_flop_j for one in (own, device)]
    assert energies[0] == energies[1]
    fitted = [*own.calibration.gemm.values(), *own.calibration.attention.values()]
    changed = [one for one in fitted if one not in device.calibration.gemm.values()]
    assert any(one.provenance.n_heldout for one in changed)


@pytest.mark.parametrize("server", measured_servers(), ids=lambda server: server.source_id)
def test_only_runs_of_that_source_and_device_are_on_it(server):
    assert server_accelerator(server.source_id, server.device) == server.accelerator
    assert server_accelerator(server.source_id, "H100") == "H100"
    assert server_accelerator("made_up", server.device) == server.device
    assert source_group(server.source_id) == server.source_id
    own = f"{server.device} ({server.accelerator})"
    assert device_text(server.source_id, server.device) == own
    assert device_text("made_up", server.device) == server.device


def test_no_alias_leads_to_a_server():
    """A user's B200 is not the server of one publication."""
    for server in measured_servers():
        assert not CATALOGUE.accelerator(server.accelerator).aliases


@pytest.mark.parametrize("server", measured_servers(), ids=lambda server: server.source_id)
def test_a_report_has_the_hashes_of_the_profiles_that_it_used(server):
    machines = RunMachines(CATALOGUE)
    machines.machine(server.accelerator, n_devices_per_node=8, network_bytes_per_s=None)
    used = CATALOGUE.load("accelerator", server.accelerator).hashes
    assert f"accelerator/{server.accelerator}" in used
    assert used.items() <= machines.profile_hashes().items()
