"""`twin profiles`: the facts about hardware, and proof that a file of them can be trusted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.catalogue import SHIPPED, Catalogue, Loaded
from hardware_profiles.check import Finding, check_families, check_files, of_architecture
from hardware_profiles.errors import ProfileError
from hardware_profiles.folders import peek_kind
from hardware_profiles.plausibility import flop_per_cycle_per_unit
from hardware_profiles.schema import KINDS
from hardware_profiles.templates import derived, skeleton
from hardware_profiles.whole_files import write_text_whole
from twin.cli.output import current_command, emit_json
from twin.cli.profile_folders import told_shadows
from twin.cli.profile_list import entries_of, list_lines
from twin.cli.profile_text import details, show_lines

__all__ = ["profiles"]

_NAME = re.compile(r"[a-z0-9][a-z0-9.\-]*")

FAMILIES = "families"
"""Folder to which ``twin calibrate`` writes constants of architectures."""

profiles_option = click.option(
    "--profiles",
    "profile_dirs",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of your own files, looked at first; may be repeated.",
    callback=told_shadows,
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
kind_option = click.option(
    "--kind", metavar="KIND", help=f"One of {', '.join(KINDS)}.", callback=lambda *a: _kind(a[2])
)


def _kind(value: str | None) -> str | None:
    if value is not None and value not in KINDS:
        msg = f'--kind "{value}": expected one of {", ".join(KINDS)}'
        raise ProfileError(msg)
    return value


@click.group()
def profiles() -> None:
    """The facts: accelerators, nodes, clusters and sites."""


@profiles.command("list")
@kind_option
@profiles_option
@json_option
def list_profiles(*, kind: str | None, profile_dirs: tuple[Path, ...], as_json: bool) -> None:
    """All profiles by kind, accelerators by vendor and age."""
    catalogue = Catalogue(profile_dirs)
    kinds = [kind] if kind else list(KINDS)
    if as_json:
        hashes: dict[str, str] = {}
        entries = entries_of(catalogue, kinds, hashes=hashes)
        emit_json({"profiles": entries}, command=current_command(), profile_hashes=hashes)
        return
    for line in list_lines(catalogue, kinds):
        click.echo(line)


@profiles.command("show")
@click.argument("name")
@kind_option
@profiles_option
@json_option
def show_profile(
    *, name: str, kind: str | None, profile_dirs: tuple[Path, ...], as_json: bool
) -> None:
    """One profile: every figure with its class and its source.

    NAME is a name or alias of the catalogue, or the path of a TOML file. Where a node and a
    cluster share it, --kind picks one; the cluster is shown without.
    """
    catalogue = Catalogue(profile_dirs)
    kinds = [kind] if kind else _kinds_of(catalogue, name)
    loaded = _load(catalogue, kinds[0], name)
    if as_json:
        payload = details(loaded, kind=kinds[0], also=kinds[1:])
        emit_json(payload, command=current_command(), profile_hashes=loaded.hashes)
        return
    for line in show_lines(loaded, kind=kinds[0], also=kinds[1:]):
        click.echo(line)


def _load(catalogue: Catalogue, kind: str, name: str) -> Loaded:
    if name.endswith(".toml"):
        catalogue = catalogue.beside(Path(name).expanduser())
    return catalogue.load(kind, name)


def _kinds_of(catalogue: Catalogue, name: str) -> list[str]:
    """Kinds that know a name, the one most likely meant first."""
    if name.endswith(".toml"):
        return [peek_kind(Path(name).expanduser()) or "cluster"]
    order = ("accelerator", "cluster", "node", "site")
    found = [kind for kind in order if catalogue.find(kind, name)]
    if not found:
        raise ProfileError(catalogue.unknown(name))
    return found


@profiles.command("check")
@click.argument("files", nargs=-1, metavar="[FILE|DIR]...", type=click.Path(path_type=Path))
@profiles_option
@json_option
@click.pass_context
def check_profiles(
    context: click.Context,
    *,
    files: tuple[Path, ...],
    profile_dirs: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Prove that profiles are complete, consistent and sourced.

    Without FILE or DIR: all of the catalogue and of --profiles. Models and the constants of
    architectures that `twin calibrate` writes to families are checked too. Exits with 1 when a file
    fails, and with 2 when a DIR holds none.
    """
    folders = tuple(path for path in files if path.is_dir())
    catalogue = Catalogue((*profile_dirs, *folders))
    paths = [path for path in _asked(files, catalogue) if not _is_order_of_families(path)]
    models = [path for path in paths if _is_model(path)]
    families = [path for path in paths if _is_family(path)]
    hardware = [path for path in paths if path not in {*models, *families}]
    findings = [*check_files(hardware, catalogue), *check_families(families)]
    findings += _check_models(models)
    failed = {finding.path for finding in findings if finding.severity == "error"}
    if as_json:
        emit_json(
            {"ok": not failed, "n_checked": len(paths), "n_failed": len(failed)}
            | {"findings": findings},
            command=current_command(),
            profile_hashes=_hashes(hardware, catalogue, failed=failed)
            | {f"family/{path.stem}": _hash(path) for path in families if path not in failed},
        )
    else:
        for finding in findings:
            click.echo(f"{finding.severity}: {_short(finding.message)}")
        click.echo(f"{len(paths)} files checked, {len(failed)} with errors")
    context.exit(1 if failed else 0)


def _asked(files: Sequence[Path], catalogue: Catalogue) -> list[Path]:
    """Files that were named or lie below folders that were; all of the catalogue where none was."""
    if not files:
        return list(catalogue.files())
    paths: dict[Path, None] = {}
    for path in files:
        if path.is_dir():
            found = sorted(inner for inner in path.rglob("*.toml") if inner.is_file())
            if not found:
                msg = f"{path}: holds no profile to check; expected TOML files in it or below it"
                raise ProfileError(msg)
        elif path.is_file():
            found = [path]
        else:
            msg = f"{path}: cannot be read: no such file or folder"
            raise ProfileError(msg)
        paths.update(dict.fromkeys(found))
    return list(paths)


def _is_model(path: Path) -> bool:
    kind = peek_kind(path)
    return kind == "model" or (kind is None and path.parent.name == "models")


def _is_family(path: Path) -> bool:
    """Whether a file has constants of an architecture: by its folder, and it says no kind."""
    return path.absolute().parent.name == FAMILIES and peek_kind(path) is None


def _is_order_of_families(path: Path) -> bool:
    """Whether a file says which architecture stands in for which: no profile, and no constants."""
    return _is_family(path) and path.stem == "relatives"


def _check_models(paths: Sequence[Path]) -> list[Finding]:
    """Models lie in the user's folders too and are read by their own catalogue."""
    if not paths:
        return []
    from twin.workload.catalogue import read_model
    from twin.workload.transformer import ModelError

    findings: list[Finding] = []
    for path in paths:
        try:
            read_model(path)
        except ModelError as error:
            findings.append(Finding(path=path, severity="error", message=str(error)))
    return findings


def _hashes(paths: Sequence[Path], catalogue: Catalogue, *, failed: set[Path]) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for path in paths:
        kind = peek_kind(path)
        if kind in KINDS and path not in failed:
            hashes.update(catalogue.beside(path).load(kind, str(path)).hashes)
    return dict(sorted(hashes.items()))


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _short(message: str) -> str:
    """Name a shipped file as in the catalogue's folder; the rest of its path helps nobody."""
    return message.replace(f"{SHIPPED}/", "hardware_profiles/")


@profiles.command("new")
@click.argument("what", metavar="NAME|KIND")
@click.option("--name", metavar="NAME", help="Name of the new profile, after a KIND.")
@click.option("--extends", "base", metavar="BASE", help="Profile that the new one is like.")
@click.option("--vendor", metavar="VENDOR", help="Maker of an accelerator.")
@click.option(
    "--architecture",
    metavar="FAMILY",
    help="Family of an accelerator: what nobody fitted on it is taken over from there.",
)
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="NAME.toml unless set."
)
@kind_option
@profiles_option
@json_option
def new_profile(
    *,
    what: str,
    out: Path | None,
    kind: str | None,
    profile_dirs: tuple[Path, ...],
    as_json: bool,
    **options: str | None,
) -> None:
    """Write a profile to fill in: like BASE, or whole with round figures.

    Either a NAME (of an accelerator, unless --kind says otherwise), or a KIND and --name. Names
    are written in small letters, digits, dots and hyphens; the file is called NAME.toml. A name
    that is in use is refused, unless --extends names the same: the file then takes its place.
    """
    kind, name = _kind_and_name(what, kind, options["name"])
    path = _target(name, out)
    catalogue = Catalogue(profile_dirs)
    base = options["base"]
    hashes: dict[str, str] = {}
    if base is None:
        kind = kind or "accelerator"
        _require_free(catalogue, kind, name)
        family = options["architecture"]
        siblings = [] if family is None else list(of_architecture(catalogue, family))
        for one in siblings:
            hashes |= catalogue.load("accelerator", one.name).hashes
        text = _whole(siblings, kind, name, options)
    else:
        kind = kind or _only_kind(catalogue, base)
        loaded = catalogue.load(kind, base)
        base, hashes = loaded.name, loaded.hashes
        if base != name:  # a file that extends its own name is to take the place of what it extends
            _require_free(catalogue, kind, name)
        text = derived(kind, name=name, base=base)
    _write(path, text)
    if as_json:
        payload = {"file": path, "kind": kind, "name": name, "extends": base}
        emit_json(payload, command=current_command(), profile_hashes=hashes)
        return
    click.echo(f"{path}: a new {kind}. When it is filled in: twin profiles check {path}")


def _kind_and_name(what: str, kind: str | None, name: str | None) -> tuple[str | None, str]:
    """Part ``NAME``, ``NAME --kind KIND`` and ``KIND --name NAME``."""
    if what not in KINDS:
        if name is not None:
            msg = f'"{what}": expected one of {", ".join(KINDS)} before --name {name}'
            raise ProfileError(msg)
        return kind, what
    if name is None:
        msg = f"{what}: expected --name NAME too"
        raise ProfileError(msg)
    if kind is not None and kind != what:
        msg = f"--kind {kind}: expected none, or {what}"
        raise ProfileError(msg)
    return what, name


def _whole(
    siblings: Sequence[Accelerator], kind: str, name: str, options: Mapping[str, str | None]
) -> str:
    """A whole new profile; a known family gives its vendor and the width of its units."""
    widths = [width for one in siblings if (width := flop_per_cycle_per_unit(one)) is not None]
    return skeleton(
        kind,
        name=name,
        vendor=options["vendor"] or (siblings[0].vendor if siblings else "other"),
        architecture=options["architecture"],
        flop_per_cycle_per_unit=max(widths) if widths else None,
    )


def _only_kind(catalogue: Catalogue, base: str) -> str:
    kinds = _kinds_of(catalogue, base)
    if len(kinds) > 1:
        msg = f'--extends "{base}": expected --kind too, as it is a {" and a ".join(kinds)}'
        raise ProfileError(msg)
    return kinds[0]


def _target(name: str, out: Path | None) -> Path:
    if not _NAME.fullmatch(name):
        msg = f'"{name}": expected a name of small letters, digits, dots and hyphens'
        raise ProfileError(msg)
    path = Path(f"{name}.toml") if out is None else out
    if path.is_dir():
        path /= f"{name}.toml"
    if path.name != f"{name}.toml":
        msg = f'--out "{path}": expected a file called {name}.toml, since a name is a file\'s stem'
        raise ProfileError(msg)
    if path.exists():
        msg = f"{path}: exists already; expected a new file"
        raise ProfileError(msg)
    return path


def _require_free(catalogue: Catalogue, kind: str, name: str) -> None:
    """Refuse a name that leads to a thing of this kind already."""
    found = catalogue.find(kind, name)
    if found is None:
        return
    if found.stem != name:
        msg = f'"{name}": already stands for {kind} {found.stem}; expected a name of its own'
        raise ProfileError(msg)
    msg = (
        f'"{name}": {_short(str(found))} is {kind} {name} already; expected another name, or '
        f"--extends {name} for a file that takes its place"
    )
    raise ProfileError(msg)


def _write(path: Path, text: str) -> None:
    try:
        write_text_whole(path, text)
    except OSError as error:
        msg = f"{path}: cannot be written: {error.strerror or error}"
        raise ProfileError(msg) from error
