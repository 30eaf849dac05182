"""Kernels of the devices of a catalogue: roofs, predicted layers, measured tables.

Arrays are imported when the first kernels are asked for, and readers of tables when one is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.errors import TweelingError
from kernels.own_measurements import MEASURED, Measured, measured_by, own_measurements
from twin.kernel_bases import KernelBases, kernel_bases
from twin.layer_kernels import LayerSetting, layer_columns, layer_kernels
from twin.roofline import DeviceRoofs, device_roofs
from twin.scenario.resolve import Catalogues

if TYPE_CHECKING:
    from kernels.importers.request import ImportRequest
    from twin.kernel_columns import KernelColumns
    from twin.kernel_tables import Progress
    from twin.kernel_times import KernelPredictors

__all__ = ["KernelView"]


class KernelView:
    """Answers about the kernels of one device at a time, and keeps what was computed."""

    def __init__(self, catalogues: Catalogues) -> None:
        self._catalogues = catalogues
        self._layers: dict[str, KernelColumns] = {}
        self._predictors: KernelPredictors | None = None

    def devices(self) -> tuple[str, ...]:
        """Names of all accelerators."""
        return self._catalogues.profiles.names("accelerator")

    def title(self, device: str) -> str:
        """What people call a device; the problem where its profile cannot be used."""
        try:
            return str(self._catalogues.profiles.load("accelerator", device).table["title"])
        except TweelingError as error:
            return str(error)

    def roofs(self, device: str) -> DeviceRoofs:
        """Ceilings of a device; raises where figures that this needs are unknown."""
        return device_roofs(self._device(device))

    def bases(self, device: str) -> KernelBases:
        """How its kernel families are calibrated, and which fit is behind which kernel."""
        return kernel_bases(self._device(device))

    def layers(self, device: str) -> KernelColumns:
        """Predicted kernels of the layers of some models."""
        if device not in self._layers:
            kernels = layer_kernels(self._device(device), self._catalogues)
            self._layers[device] = layer_columns(kernels)
        return self._layers[device]

    def own(self, device: str) -> Measured | None:
        """Measurements of the device that come with the twin."""
        accelerator = self._device(device)
        return own_measurements((accelerator.name, *accelerator.aliases))

    def layer(self, device: str, setting: LayerSetting) -> KernelColumns:
        """Predicted kernels of one layer."""
        return layer_columns(layer_kernels(self._device(device), self._catalogues, [setting]))

    def devices_in(
        self, path: Path, request: ImportRequest | None = None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Devices of the rows of a file or folder: profiles, and names that no profile carries.

        Raises
        ------
        MeasurementError
            The file cannot be read, or is in no known format.
        """
        from twin.kernel_tables import device_names

        known, unknown = set(), set()
        own = self._own_of(path)
        for name in device_names(path, request or self._request()):
            is_own = own is not None and name == own.device
            profile = own.folder.name if own is not None and is_own else self.profile_of(name)
            if profile is None:
                unknown.add(name)
            else:
                known.add(profile)
        return tuple(sorted(known)), tuple(sorted(unknown))

    def measured(
        self,
        device: str,
        path: Path,
        request: ImportRequest | None = None,
        *,
        elsewhere: Collection[Path] = (),
    ) -> Iterator[Progress]:
        """Rows of the device in a file or a folder of files, batch by batch.

        Parameters
        ----------
        device
            The accelerator.
        path
            A table, a file of another tool, or a folder of them.
        request
            What the user says of the rows. A device that it names stands for the one name in the
            tables that no profile carries.
        elsewhere
            Files, and folders of files, that are left out because they are read elsewhere; whole
            paths without links.

        Raises
        ------
        MeasurementError
            What cannot be read, with file, row, column and value.
        """
        from twin.kernel_tables import read_kernels, table_files
        from twin.kernel_times import KernelPredictors

        if self._predictors is None:
            self._predictors = KernelPredictors()
        survey = measured_by(path) if path.is_dir() else None
        own = self.own(device)
        called = [own.device] if own and own == self._own_of(path) else []
        if request is not None and request.device is not None:
            _, unknown = self.devices_in(path, request)
            called += unknown if len(unknown) == 1 else []
        files = [
            file
            for file in table_files(path)
            if not {file.resolve(), file.resolve().parent} & set(elsewhere)
        ]
        return read_kernels(
            files,
            self._device(device),
            self._predictors,
            request=request or self._request(),
            origin=f"measured {survey.date}" if survey and survey.date else "",
            also_called=called,
        )

    def _request(self) -> ImportRequest:
        from kernels.importers.request import ImportRequest

        return ImportRequest(catalogue=self._catalogues.profiles)

    def profile_of(self, name: str) -> str | None:
        """Profile that carries the name of a device; None for one that none does."""
        path = self._catalogues.profiles.find("accelerator", name) if name else None
        return None if path is None else path.stem

    def _own_of(self, path: Path) -> Measured | None:
        """What came with the twin, where the path is its folder or a table of it.

        Only there does the name that the device gave itself tell its profile: many a processor
        has the name of the one that was measured.
        """
        folder = path.resolve() if path.is_dir() else path.resolve().parent
        if folder.parent != MEASURED.resolve() or folder.name not in self.devices():
            return None
        return measured_by(MEASURED / folder.name)

    def _device(self, name: str) -> Accelerator:
        return self._catalogues.profiles.accelerator(name)
