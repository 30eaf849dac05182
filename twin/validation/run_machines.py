"""Machines of published runs: an accelerator in the server that usually carries it.

A source names its accelerator and sometimes the network; everything else comes from the
template of that accelerator's family. Stated values always win.
"""

from __future__ import annotations

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.cluster import Machine
from hardware_profiles.errors import ProfileError
from kernels.families.inheritance import family_hashes
from kernels.power_prior import power_hashes

__all__ = ["RunMachines"]

TEMPLATE_CLUSTERS = {
    "a100": "dgx-a100",
    "a800": "dgx-a100",
    "v100": "jean-zay-v100",
    "h100": "dgx-h100",
    "h800": "dgx-h100",
    "h200": "dgx-h200",
    "gh200": "dgx-h100",
    "b200": "dgx-b200",
    "gb200": "dgx-b200",
    "b300": "dgx-b300",
    "gb300": "dgx-b300",
    "l40s": "l40s-server",
    "rtx": "rtx-pro-6000-server",
    "mi250": "lumi-g",
    "mi250x": "lumi-g",
    "mi300x": "mi300x-oam8",
    "mi308x": "mi300x-oam8",
    "mi325x": "mi325x-oam8",
    "mi350x": "mi350x-oam8",
    "mi355x": "mi355x-oam8",
}
"""Family (the accelerator's name up to its first dash) to the cluster template."""

RACK_SCALE_DOMAIN_DEVICES = {"gb200": 72, "gb300": 72}
"""Devices that share one link domain although servers are smaller. [1]"""


class RunMachines:
    """Builds and keeps the machines that runs were made on."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._templates: dict[str, Machine] = {}
        self._hashes_by_device: dict[str, dict[str, str]] = {}

    def _template(self, accelerator: Accelerator) -> Machine:
        family = accelerator.name.partition("-")[0]
        if family not in TEMPLATE_CLUSTERS:
            msg = f"{accelerator.name}: no server is known that usually carries it"
            raise ProfileError(msg)
        cluster = TEMPLATE_CLUSTERS[family]
        if cluster not in self._templates:
            self._templates[cluster] = self._catalogue.machine(cluster)
        return self._templates[cluster]

    def accelerator(self, device: str) -> Accelerator:
        """Profile of a device by the name that the table gives it."""
        if device not in self._hashes_by_device:
            found = self._catalogue.accelerator(device)
            constants = {**power_hashes(found), **family_hashes(found)}
            profile = self._catalogue.load("accelerator", device).hashes
            self._hashes_by_device[device] = {**constants, **profile}
        return self._catalogue.accelerator(device)

    def machine(
        self,
        device: str,
        *,
        n_devices_per_node: int | None,
        network_bytes_per_s: float | None,
        n_network_cards: int | None = None,
    ) -> Machine:
        """Machine of one run.

        Parameters
        ----------
        device
            Name or alias of the accelerator.
        n_devices_per_node
            As the source states it; the template's when silent. [1]
        network_bytes_per_s
            Line rate of a whole server as the source states it, one direction. [byte/s]
        n_network_cards
            Cards that share that rate; the template's when silent. [1]
        """
        accelerator = self.accelerator(device)
        template = self._template(accelerator)
        node = template.node
        n_devices = n_devices_per_node or node.n_devices
        network = node.network
        if network_bytes_per_s is not None:
            n_nics = n_network_cards or network.n_nics
            rate = network_bytes_per_s / n_nics
            network = msgspec.structs.replace(
                network, n_nics=n_nics, nic_bandwidth_bytes_per_s=rate
            )
        elif n_devices != node.n_devices:
            # Servers of another size keep the cards per device.
            rate = network.nic_bandwidth_bytes_per_s * n_devices / node.n_devices
            network = msgspec.structs.replace(network, nic_bandwidth_bytes_per_s=rate)
        family = accelerator.name.partition("-")[0]
        intra = msgspec.structs.replace(
            node.intra_node, domain_n_devices=RACK_SCALE_DOMAIN_DEVICES.get(family)
        )
        node = msgspec.structs.replace(
            node,
            accelerator=accelerator.name,
            n_devices=n_devices,
            network=network,
            intra_node=intra,
        )
        return msgspec.structs.replace(template, node=node, accelerator=accelerator)

    def profile_hashes(self) -> dict[str, str]:
        """Hashes of all profiles that machines were built from, constants of devices included."""
        found: dict[str, str] = {}
        for template in self._templates.values():
            found |= template.profile_hashes
        for hashes in self._hashes_by_device.values():
            found |= hashes
        return found
