"""Devices of foreign files, looked up among the names and aliases of accelerator profiles."""

from __future__ import annotations

from dataclasses import dataclass, field

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import nearest
from kernels.backends import host_device
from kernels.importers.cells import Place

__all__ = ["Devices"]


@dataclass(slots=True, kw_only=True)
class Devices:
    """Profiles of the devices that one file names.

    `named` is the user's word for the device of rows whose own name no profile carries. It stands
    for one such name in a file: two of them would be two devices under one name. No processor
    counts as the host profile that comes along, which is of another computer, unless it is `named`.
    """

    catalogue: Catalogue
    named: str | None = None
    _known: dict[str, str | None] = field(default_factory=dict)
    _stood_for: str | None = None

    def profile(self, text: str | None, place: Place) -> str:
        """Name of the profile of a device.

        Parameters
        ----------
        text
            What the file calls it; None or empty where it does not say.
        place
            Where it stands, for the message.

        Raises
        ------
        MeasurementError
            No profile carries the name and the user named none.
        """
        own = (text or "").strip()
        found = self._look_up(own) if own else None
        if found is not None:
            return found
        if self.named is None:
            raise place.error(self._unknown(own))
        if self._stood_for not in {None, own}:
            complaint = (
                f"neither device {own!r} nor {self._stood_for!r} has a profile; --device can stand "
                "for one of them only, so split the file"
            )
            raise place.error(complaint)
        self._stood_for = own
        return self.catalogue.path("accelerator", self.named).stem

    def knows(self, text: str) -> bool:
        """Whether a profile carries the name."""
        return self._look_up(text.strip()) is not None

    def _look_up(self, name: str) -> str | None:
        if name not in self._known:
            path = self.catalogue.find("accelerator", name)
            self._known[name] = None if path is None else path.stem
        return self._known[name]

    def _unknown(self, own: str) -> str:
        if not own:
            return "the file does not name its device; say which with --device PROFILE"
        if own == host_device().name:
            return (
                f"no profile carries the name of this processor, {own!r}: `twin calibrate` makes "
                "one, and --device PROFILE says which one to take"
            )
        names = self.catalogue.names("accelerator")
        close = nearest(own, {*names, *self.catalogue.aliases("accelerator")}, n=1)
        hint = f", perhaps {close[0]}" if close else ""
        return (
            f"device {own!r} is no name or alias of a profile; say which it is with "
            f"--device PROFILE{hint}"
        )
