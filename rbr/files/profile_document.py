"""Reads a profile and the profiles that it extends into one document that knows the location of each setting."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbr.errors import InputError, KeyPath, Location, nearest_spelling
from rbr.files.schema_errors import sorted_by_line
from rbr.files.yaml_file import YamlDocument, read_yaml

# Where the profiles of this project are: in the working directory, or in the clone.
_PROFILES = (Path("profiles"), Path(__file__).resolve().parents[2] / "profiles")


@dataclass(frozen=True)
class ProfileDocument:
    """The settings of a profile, merged with those of the profiles that it extends.

    Attributes:
        documents: The YAML document of the profile, then those of the profiles that it extends, nearest first.
        content: Merged settings, without ``extends``.

    Example:
        >>> document = read_profile_document("profiles/tiny.yaml")
        >>> [layer.file for layer in document.documents]
        ['profiles/tiny.yaml', 'profiles/sandbox.yaml']
        >>> document.location(("rl", "beta")).file
        'profiles/sandbox.yaml'
    """

    notation = "YAML"

    documents: Sequence[YamlDocument]
    content: dict[str, Any]

    @property
    def problems(self) -> list[InputError]:
        """Duplicate keys of all documents."""
        return [problem for document in self.documents for problem in document.problems]

    def location(self, path: KeyPath) -> Location:
        """Returns the location in the first document that has the key; if none has it, a location in the profile."""
        with_key = (document for document in self.documents if path in document.positions)
        return next(with_key, self.documents[0]).location(path)

    def as_json(self) -> str:
        """Returns the merged settings as JSON text."""
        return json.dumps(self.content)


def read_profile_document(path: str | Path) -> ProfileDocument:
    """Reads a profile and the profiles that it extends, each file once.

    Args:
        path: YAML file of the profile.

    Raises:
        InputError: A file cannot be read, or profiles extend each other in a circle. Duplicate keys of the profiles
            that were read are reported too.

    Example:
        >>> read_profile_document("profiles/tiny.yaml").content["rl"]["steps"]
        2
    """
    documents: list[YamlDocument] = []
    try:
        for document in _read_chain(Path(path)):
            documents.append(document)
    except InputError as error:
        duplicates = [problem for document in documents for problem in document.problems]
        raise InputError.collect(sorted_by_line([*duplicates, *error.problems])) from error
    content: dict[str, Any] = {}
    for document in reversed(documents):
        content = _merge(content, _mapping(document))
    content.pop("extends", None)
    return ProfileDocument(documents, content)


def _read_chain(path: Path) -> Iterator[YamlDocument]:
    """Yields a profile and the profiles that it extends, the profile first."""
    files: list[Path] = []
    while True:
        document = read_yaml(path)
        files.append(path)
        yield document
        base = _mapping(document).get("extends")
        if base is None:
            return
        where = document.location(("extends",))
        if not isinstance(base, str) or Path(base).name != base:
            hint = "Name a profile of the same directory without its suffix, such as `extends: sandbox`."
            raise InputError(f"{base!r:.100} is not the name of a profile", where=where, hint=hint)
        profiles = _names(path.parent)
        if base not in profiles:
            others = tuple(name for name in profiles if name not in {file.stem for file in files})
            near = nearest_spelling(base.removesuffix(".yaml").removesuffix(".yml"), others)
            hint = f"Did you mean `{near}`?" if near else f"Profiles in this directory: {', '.join(profiles)}."
            if there := next((place for place in _PROFILES if base in _names(place)), None):
                hint = f"Put {path.name} into {there}, beside {base}.yaml."
            raise InputError(f"the profile {base!r:.100} does not exist in this directory", where=where, hint=hint)
        path = path.parent / f"{base}.yaml"
        if any(path.samefile(earlier) for earlier in files):
            hint = "Remove `extends` from one of these profiles, and write out all its settings."
            raise InputError(f"{base!r} extends itself: the profiles form a circle", where=where, hint=hint)


def _names(directory: Path) -> tuple[str, ...]:
    """Returns the names of the profiles in a directory."""
    return tuple(sorted(file.stem for file in directory.glob("*.yaml") if file.is_file()))


def _mapping(document: YamlDocument) -> dict[str, Any]:
    if isinstance(document.content, dict):
        return document.content
    what = "the file is empty" if document.content is None else "expected a mapping"
    raise InputError(what, where=document.location(()), hint="Write sections such as `models:` and `rl:`.")


def _merge(base: dict[str, Any], extension: dict[str, Any]) -> dict[str, Any]:
    """Merges two settings trees. The values of `extension` win."""
    merged = dict(base)
    for key, value in extension.items():
        inherited = merged.get(key)
        if isinstance(inherited, dict) and isinstance(value, dict):
            merged[key] = _merge(inherited, value)
        else:
            merged[key] = value
    return merged
