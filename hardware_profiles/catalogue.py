"""The catalogue: every profile by name, and the machine that a cluster's references make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from msgspec.structs import replace as replace_fields

from hardware_profiles.accelerator import Accelerator, Announcement
from hardware_profiles.cluster import Cluster, Machine, Node, Partition, Site
from hardware_profiles.errors import ProfileError, nearest
from hardware_profiles.folders import Folder, peek_aliases
from hardware_profiles.loader import ProfileFile, build, merge, overlay, read_file
from hardware_profiles.overrides import (
    Override,
    overridden_hash,
    overridden_table,
    parse_overrides,
)
from hardware_profiles.physics import impossible_together
from hardware_profiles.schema import KINDS, Table, Thing

__all__ = ["SHIPPED", "Catalogue", "Loaded"]

KIND_FOLDERS = tuple(f"{kind}s" for kind in KINDS)
"""Names of folders that hold profiles of one kind."""

SHIPPED = Path(__file__).resolve().parent
"""Folder of the profiles that come with the twin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One thing with the files it was made of."""

    path: Path
    name: str
    thing: Thing
    table: Table
    """The same figures as a table, in base units."""
    own_table: Table
    """What the file itself says, without what it extends."""
    hashes: dict[str, str]
    """SHA-256 of each file used, by ``kind/name``. [hex]"""
    overridden_keys: tuple[str, ...] = ()
    base: Loaded | None = None
    """What it extends."""


class Catalogue:
    """Profiles by name or alias: the user's folders first, then the shipped ones.

    A name is the stem of a file. Files are read once per catalogue; a new catalogue sees what
    changed on disk.

    Parameters
    ----------
    user_dirs
        Folders of the user's own files, searched in this order and before the shipped ones.
    """

    def __init__(self, user_dirs: Sequence[Path] = ()) -> None:
        self._folders = [*(Folder(Path(folder)) for folder in user_dirs), Folder(SHIPPED)]
        self._loaded: dict[Path, Loaded] = {}

    def files(self) -> tuple[Path, ...]:
        """Every TOML file of every folder, the user's first; models lie among the user's too."""
        return tuple(path for folder in self._folders for path in folder)

    def names(self, kind: str) -> tuple[str, ...]:
        """Names of all profiles of one kind (accelerator, node, cluster, site), sorted."""
        return tuple(sorted({path.stem for folder in self._folders for path in folder.paths(kind)}))

    def aliases(self, kind: str) -> dict[str, str]:
        """Other spellings of the names of one kind, and the name that each stands for."""
        return {alias: name for name in self.names(kind) for alias in self._aliases(kind, name)}

    def _aliases(self, kind: str, name: str) -> tuple[str, ...]:
        return peek_aliases(self.path(kind, name))

    def find(self, kind: str, reference: str) -> Path | None:
        """File that a name or an alias refers to; None when there is none."""
        named = self._named(kind, reference)
        if named is not None:
            return named
        for folder in self._folders:
            found = folder.find_alias(kind, reference)
            if found:
                # A file of the same name in an earlier folder takes its place, aliases or not.
                return self._named(kind, found.stem)
        return None

    def _named(self, kind: str, name: str) -> Path | None:
        found = (folder.find(kind, name) for folder in self._folders)
        return next((path for path in found if path is not None), None)

    def path(self, kind: str, reference: str) -> Path:
        """File that a name, an alias or the path of a TOML file refers to."""
        if reference.endswith(".toml"):
            return Path(reference).expanduser()
        found = self.find(kind, reference)
        if found is None:
            raise ProfileError(self.unknown(reference, kind))
        return found

    def unknown(self, reference: str, kind: str | None = None) -> str:
        """What to say of a name that nothing of this kind, or of any kind, carries."""
        kinds = KINDS if kind is None else (kind,)
        known = {name for each in kinds for name in (*self.names(each), *self.aliases(each))}
        close = nearest(reference, known)
        hint = f"nearest {', '.join(close)}; " if close else ""
        if not close and kind is not None:
            # Nothing looks like it: the names themselves help more than a command.
            hint = f"known are {', '.join(self.names(kind))}; "
        listing = "twin profiles list" if kind is None else f"twin profiles list --kind {kind}"
        return f'{kind or "profile"} "{reference}": unknown; {hint}all are listed by: {listing}'

    def accelerator(self, name: str) -> Accelerator:
        """One accelerator by name, alias or path; an announced one needs every figure."""
        loaded = self.load("accelerator", name)
        _require_figures(loaded)
        return cast("Accelerator", loaded.thing)

    def node(self, name: str) -> Node:
        """One node by name, alias or path."""
        return cast("Node", self.load("node", name).thing)

    def cluster(self, name: str) -> Cluster:
        """One cluster by name, alias or path."""
        return cast("Cluster", self.load("cluster", name).thing)

    def site(self, name: str) -> Site:
        """One site by name, alias or path."""
        return cast("Site", self.load("site", name).thing)

    def load(self, kind: str, reference: str) -> Loaded:
        """One thing of any kind with its files and hashes."""
        return self._load_path(kind, self.path(kind, reference), below=())

    def _load_path(self, kind: str, path: Path, *, below: tuple[Path, ...]) -> Loaded:
        known = self._loaded.get(path)
        if known is None:
            known = self._read(path, below=below)
            self._loaded[path] = known
        if known.thing.kind != kind:
            msg = f'{path}: kind = "{known.thing.kind}": expected {kind}'
            raise ProfileError(msg)
        return known

    def _read(self, path: Path, *, below: tuple[Path, ...]) -> Loaded:
        file = read_file(path)
        if file.problems:
            raise ProfileError(file.problems[0])
        key = f"{file.kind}/{file.name}"
        table, hashes = file.table, {key: file.sha256}
        base = None
        if file.extends is not None:
            base = self._base(file, path, below=(*below, path))
            table = merge(base.table, file.table, base_name=base.name)
            hashes = {**base.hashes, **hashes}
            if key in base.hashes:  # the user's file carries the name of the file it extends
                hashes[key] = overridden_hash(file.sha256, {"extends": base.hashes[key]})
        return Loaded(
            path=path,
            name=file.name,
            thing=build(table, file.kind, label=file.label),
            table=table,
            own_table=file.table,
            hashes=hashes,
            base=base,
        )

    def _base(self, file: ProfileFile, path: Path, *, below: tuple[Path, ...]) -> Loaded:
        name = str(file.extends)
        try:
            base_path = self._path_above(file, path)
        except ProfileError as error:
            msg = f'{path}: extends = "{name}": {error}'
            raise ProfileError(msg) from error
        if base_path in below:
            circle = " -> ".join(p.stem for p in (*below[below.index(base_path) :], base_path))
            msg = f'{path}: extends = "{name}": expected no circle; here {circle}'
            raise ProfileError(msg)
        return self._load_path(file.kind, base_path, below=below)

    def _path_above(self, file: ProfileFile, path: Path) -> Path:
        """File that `file` extends; one that extends its own name means the next one found."""
        name = str(file.extends)
        above = path if name == path.stem else self.path(file.kind, name)
        if name.endswith(".toml") or above.stem != path.stem:
            return above
        found = [p for folder in self._folders if (p := folder.find(file.kind, path.stem))]
        others = found[found.index(path) + 1 :] if path in found else found
        return next((other for other in others if other != path), path)

    def machine(
        self,
        cluster: str,
        *,
        site: str | None = None,
        overrides: Sequence[tuple[str, str]] = (),
    ) -> Machine:
        """Resolve one partition of a cluster with everything it refers to.

        Parameters
        ----------
        cluster
            Name, alias or path of a TOML file; ``name:partition`` picks a partition, the first
            is the default. A file's own references are looked for in its folder too.
        site
            Site to stand at instead of the cluster's own.
        overrides
            Figures set for once: (dotted key with unit, value as text).
        """
        reference, wanted = _split_partition(cluster)
        catalogue = self
        if reference.endswith(".toml"):
            catalogue = self.beside(Path(reference).expanduser())
        settings = parse_overrides(overrides)
        parts = {"cluster": catalogue._set(catalogue.load("cluster", reference), settings)}
        the_cluster = cast("Cluster", parts["cluster"].thing)
        partition = _partition(the_cluster, wanted)
        parts["node"] = catalogue._referred("node", partition.node, settings, parts["cluster"])
        node = cast("Node", parts["node"].thing)
        parts["accelerator"] = catalogue._referred(
            "accelerator", node.accelerator, settings, parts["node"]
        )
        _require_figures(parts["accelerator"])
        parts["site"] = catalogue._referred(
            "site", site or the_cluster.site, settings, parts["cluster"] if site is None else None
        )
        return _machine(parts, partition)

    def in_front(self, folder: Path) -> Catalogue:
        """Catalogue that looks into one more folder before all others."""
        wider = Catalogue()
        wider._folders = [Folder(folder), *self._folders]
        return wider

    def beside(self, path: Path) -> Catalogue:
        """Catalogue that also knows the folder in which a file lies, without those below it.

        In a folder named after a kind, as those of the shipped profiles are, the folders of the
        other kinds beside it belong to it.
        """
        if not path.is_file():
            msg = f"{path}: cannot be read: no such file"
            raise ProfileError(msg)
        if any(path in folder for folder in self._folders):
            return self
        wider = Catalogue()
        near = [Folder(path.parent, is_recursive=False)]
        if path.absolute().parent.name in KIND_FOLDERS:
            top = path.absolute().parent.parent
            others = [top / name for name in KIND_FOLDERS if name != path.absolute().parent.name]
            near += [Folder(other) for other in others if other.is_dir()]
        wider._folders = [*self._folders[:-1], *near, self._folders[-1]]
        return wider

    def _referred(
        self,
        kind: str,
        name: str,
        settings: Sequence[Override],
        referrer: Loaded | None,
    ) -> Loaded:
        try:
            loaded = self.load(kind, name)
        except ProfileError as error:
            if referrer is None:
                raise
            msg = f"{referrer.path}: {error}"
            raise ProfileError(msg) from error
        return self._set(loaded, settings)

    @staticmethod
    def _set(loaded: Loaded, settings: Sequence[Override]) -> Loaded:
        """Lay the user's settings over one thing."""
        kind = loaded.thing.kind
        texts = [override.text for override in settings if override.kind == kind]
        if not texts:
            return loaded
        table, keys = overridden_table(loaded.thing, kind, overrides=settings)
        merged = overlay(loaded.table, table)
        key = f"{kind}/{loaded.name}"
        return replace(
            loaded,
            thing=build(merged, kind, label=" ".join(texts)),
            table=merged,
            hashes={**loaded.hashes, key: overridden_hash(loaded.hashes[key], table)},
            overridden_keys=keys,
        )


def _require_figures(loaded: Loaded) -> None:
    """Refuse an announced accelerator whose figures are not all known."""
    if isinstance(loaded.thing, Announcement):
        msg = f"{loaded.path}: {loaded.thing.refusal}"
        raise ProfileError(msg)


def _split_partition(cluster: str) -> tuple[str, str | None]:
    reference, colon, partition = cluster.rpartition(":")
    if not colon or "/" in partition or "\\" in partition:
        return cluster, None
    return reference, partition


def _partition(cluster: Cluster, wanted: str | None) -> Partition:
    if wanted is None:
        return cluster.partitions[0]
    for partition in cluster.partitions:
        if partition.name == wanted:
            return partition
    names = ", ".join(partition.name for partition in cluster.partitions)
    msg = f'cluster "{cluster.name}": no partition "{wanted}"; expected one of {names}'
    raise ProfileError(msg)


def _wired(accelerator: Accelerator, node: Node) -> Accelerator:
    """The accelerator with the bandwidth between two of them that the node's board gives."""
    peer_bytes_per_s = node.intra_node.peer_bandwidth_bytes_per_s
    if peer_bytes_per_s is None or accelerator.link is None:
        return accelerator
    link = replace_fields(accelerator.link, peer_bandwidth_bytes_per_s=peer_bytes_per_s)
    return replace_fields(accelerator, link=link)


def _machine(parts: dict[str, Loaded], partition: Partition) -> Machine:
    node = cast("Node", parts["node"].thing)
    accelerator = cast("Accelerator", parts["accelerator"].thing)
    problem = next(impossible_together(node, accelerator), None)
    if problem:
        msg = f"{parts['node'].path}: {problem}"
        raise ProfileError(msg)
    return Machine(
        cluster=cast("Cluster", parts["cluster"].thing),
        partition=partition,
        node=node,
        accelerator=_wired(accelerator, node),
        site=cast("Site", parts["site"].thing),
        profile_hashes={
            key: value for part in parts.values() for key, value in sorted(part.hashes.items())
        },
        overridden_keys=tuple(key for part in parts.values() for key in part.overridden_keys),
    )
