"""The catalogue of known models: one TOML file each, found by name, alias or path."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from twin.workload.transformer import ModelError, Transformer

__all__ = ["ModelCatalogue", "read_model"]

SHIPPED_DIR = Path(__file__).parent / "models"
SCHEMA_VERSION = 1
MODEL_KIND_LINE = re.compile(r'^\s*kind\s*=\s*["\']model["\']', re.MULTILINE)


class ModelCatalogue:
    """Models that can be named: the user's files first, then the shipped ones.

    Parameters
    ----------
    user_dirs
        Folders of the user's own profiles. A TOML file below one of them is a model when it lies
        in a folder called ``models`` or says ``kind = "model"``.
    """

    def __init__(self, user_dirs: Sequence[Path] = ()) -> None:
        self._files: dict[str, Path] = {}
        for folder in user_dirs:
            self._add(_user_model_files(folder))
        self._add(sorted(SHIPPED_DIR.glob("*.toml")))
        self._models: dict[Path, Transformer] = {}

    def names(self) -> tuple[str, ...]:
        """Names in the catalogue, without aliases, in order of the alphabet and of size."""
        return tuple(sorted(self._files, key=_natural_key))

    def model(self, name_or_path: str) -> Transformer:
        """Model of this name, alias (upper and lower case are the same) or path of a TOML file."""
        path = self._path_of(name_or_path)
        if path not in self._models:
            self._models[path] = read_model(path)
        model = self._models[path]
        if path == self._files.get(path.stem) and model.name != path.stem:
            msg = f'{path}: name="{model.name}"; expected the name of the file, "{path.stem}"'
            raise ModelError(msg)
        return model

    def path(self, name_or_path: str) -> Path:
        """File of a name, an alias or a path."""
        return self._path_of(name_or_path)

    def hash_of(self, name_or_path: str) -> str:
        """SHA-256 of the model's file. [hex]"""
        return hashlib.sha256(_read_bytes(self._path_of(name_or_path))).hexdigest()

    def _add(self, files: Sequence[Path]) -> None:
        for path in files:
            self._files.setdefault(path.stem, path)

    def _path_of(self, name_or_path: str) -> Path:
        if name_or_path.endswith(".toml") or "/" in name_or_path:
            return Path(name_or_path).expanduser()
        wanted = name_or_path.lower()
        if wanted in self._files:
            return self._files[wanted]
        name = self._name_by_alias(wanted)
        if name is None:
            raise ModelError(self._unknown_message(name_or_path))
        return self._files[name]

    def _name_by_alias(self, wanted: str) -> str | None:
        for name in self._files:
            if name.lower() == wanted or wanted in map(str.lower, self.model(name).aliases):
                return name
        return None

    def _unknown_message(self, name: str) -> str:
        known = [*self._files, *(a for n in self._files for a in self.model(n).aliases)]
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(self.names())}"
        return f'model "{name}" is not in the catalogue; {hint}; or give the path of a TOML file'


def read_model(path: Path) -> Transformer:
    """Read one model file; what is wrong with it is told by file, line and key."""
    content = _read_bytes(path)
    try:
        model = msgspec.toml.decode(content, type=Transformer)
    except msgspec.ValidationError as error:
        raise ModelError(_key_message(path, content, str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(_syntax_message(path, str(error))) from error
    except ModelError as error:
        msg = f"{path}: {error}"
        raise ModelError(msg) from error
    if model.schema_version != SCHEMA_VERSION:
        line = _line_of(content, "schema_version")
        msg = f"{path}:{line}: schema_version={model.schema_version}; expected {SCHEMA_VERSION}"
        raise ModelError(msg)
    return model


def _user_model_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        msg = f"profiles folder {folder}: is not a folder"
        raise ModelError(msg)
    files = sorted(folder.rglob("*.toml"))
    return [path for path in files if path.parent.name == "models" or _says_it_is_a_model(path)]


def _says_it_is_a_model(path: Path) -> bool:
    return MODEL_KIND_LINE.search(_read_bytes(path).decode(errors="replace")) is not None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"model file {path}: {error.strerror or error}"
        raise ModelError(msg) from error


def _syntax_message(path: Path, detail: str) -> str:
    """Message of a file that is no TOML; the parser names line and column."""
    found = re.search(r"\s*\(at line (\d+), column (\d+)\)", detail)
    if found is None:
        return f"{path}: not TOML: {detail}"
    reason = detail[: found.start()].strip()
    return f"{path}:{found[1]}: not TOML at column {found[2]}: {reason}"


def _key_message(path: Path, content: bytes, detail: str) -> str:
    """Message of a file whose keys do not make a model."""
    found = re.search(r"unknown field `(\w+)`", detail)
    if found is not None:
        near = difflib.get_close_matches(found[1], Transformer.__struct_fields__, n=1)
        hint = f"; did you mean {near[0]}" if near else ""
        return f"{path}:{_line_of(content, found[1])}: unknown key {found[1]}{hint}"
    found = re.search(r"missing required field `(\w+)`", detail)
    if found is not None:
        return f"{path}: key {found[1]} is missing"
    found = re.search(r"(.*) - at `\$\.(\w+)", detail)
    if found is not None:
        line = _line_of(content, found[2])
        return f"{path}:{line}: key {found[2]}: {found[1][:1].lower()}{found[1][1:]}"
    return f"{path}: {detail}"


def _line_of(content: bytes, key: str) -> int:
    """Number of the line that sets a key, counted from 1."""
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        if re.match(rf"\s*\[?\s*{re.escape(key)}\b", line):
            return number
    return 1


def _natural_key(name: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key that puts 7.5b before 18.4b."""
    parts = re.findall(r"\d+(?:\.\d+)?|[^\d]+", name.replace("-1t", "-1000b"))
    return tuple((0, float(p), "") if p[0].isdigit() else (1, 0.0, p) for p in parts)
