"""Inserts a new proposition into every file of a rulebook that needs to know it.

All files are changed, or none. Comments, order and layout of the files stay.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from rbr.errors import InputError, KeyPath, Location, spelling_hint
from rbr.files.file_replacement import replace_texts
from rbr.files.profile_document import ProfileDocument
from rbr.files.text_file import read_text
from rbr.files.yaml_file import YamlDocument, read_yaml
from rbr.files.yaml_insertion import YamlText
from rbr.rulebook.fields import Identifier
from rbr.rulebook.load import (
    BEHAVIOR_FILE,
    CONTENT_POLICY_FILE,
    PROPOSITIONS_FILE,
    SYNTHESIS_FILE,
    default_rulebook,
    read_rulebook_files,
)
from rbr.rulebook.parts import Rulebook
from rbr.rulebook.proposition_scaffold import AuthoringStep, Insertion, PropositionScaffold

_EDITED = (PROPOSITIONS_FILE, BEHAVIOR_FILE, SYNTHESIS_FILE)


def add_proposition(
    name: str, directory: str | Path, response_types: Sequence[str] = (), profile: ProfileDocument | None = None
) -> tuple[AuthoringStep, ...]:
    """Inserts a new proposition into ``propositions.yaml``, ``behavior.yaml`` and ``synthesis.yaml``.

    Only lines are inserted, or entries into a list in brackets; every other byte of the files stays. The rulebook then
    has an error for each inserted value that the author must fill in, and nothing runs until all are filled in.

    Args:
        name: Name of the proposition.
        directory: Directory of a rulebook without errors.
        response_types: Response types whose replies the proposition is about; empty for all of them.
        profile: Names the file with the gold labels; None if there is no profile.

    Returns:
        What the author does next, in this order: question, class rule, features, recipe, gold labels.

    Raises:
        InputError: The name exists or cannot be used, a response type is unknown, the rulebook has errors, or a file
            cannot be written. No file is changed then.

    Example:
        >>> with tempfile.TemporaryDirectory() as scratch:
        ...     rules = shutil.copytree("rulebook", f"{scratch}/rules")
        ...     steps = add_proposition("mentions_helpline", rules, ["comply"])
        >>> [step.title for step in steps]
        ['Question and examples', 'Class rule', 'Features', 'Recipe', 'Gold labels']
    """
    root = Path(directory)
    files = read_rulebook_files(root)
    rulebook = files.rulebook()
    documents = {
        PROPOSITIONS_FILE: files.propositions.document,
        BEHAVIOR_FILE: files.behavior.document,
        SYNTHESIS_FILE: files.synthesis.document,
    }
    scaffold = PropositionScaffold(name, _checked_types(response_types, rulebook), rulebook)
    _check_name(name, scaffold.rule, rulebook, documents[PROPOSITIONS_FILE], documents[BEHAVIOR_FILE])
    _check_is_own_rulebook(root)
    texts = {file: _with_insertions(root / file, scaffold.insertions(file)) for file in _EDITED}
    new_documents = _check_texts(texts, root, documents, scaffold)
    replace_texts({root / file: text for file, text in texts.items()})

    def place(file: str, path: KeyPath) -> Location:
        line, column = new_documents[file].positions[path]
        return Location(str(root / file), line, column, path)

    return scaffold.steps(place, profile)


def _checked_types(response_types: Sequence[str], rulebook: Rulebook) -> tuple[str, ...]:
    known = rulebook.behavior.response_types
    problems = [
        InputError(f"unknown response type {name!r}", where="--response-type", hint=spelling_hint(name, known))
        for name in response_types
        if name not in known
    ]
    if problems:
        raise InputError.collect(problems)
    return tuple(dict.fromkeys(response_types)) or tuple(known)


def _check_name(
    name: str, rule: str, rulebook: Rulebook, propositions: YamlDocument | None, behavior: YamlDocument | None
) -> None:
    for new in (name, rule):
        try:
            TypeAdapter(Identifier).validate_python(new)
        except ValidationError as error:
            context = error.errors()[0].get("ctx", {})
            raise InputError(context.get("what", error.errors()[0]["msg"]), hint=context.get("hint", "")) from error
        if yaml.safe_load(new) != new:
            raise InputError(f"YAML does not read {new!r} as text", hint="Choose another name.")
        if new in rulebook.propositions and propositions is not None:
            what = f"the proposition {new!r} exists"
            raise InputError(what, where=propositions.location((new,)), hint="Choose another name.")
        if new in rulebook.behavior.derived and behavior is not None:
            what = f"{new!r} is a derived proposition"
            raise InputError(what, where=behavior.location(("derived", new)), hint="Choose another name.")


def _check_is_own_rulebook(root: Path) -> None:
    """Refuses to edit the rulebook inside an installed package."""
    installed = Path(__file__).resolve().parents[1] / "default_rulebook"
    if root.resolve() == installed == default_rulebook():
        hint = "Copy it with `rbr init my-rulebook`, and name the copy with `--rulebook my-rulebook`."
        raise InputError("this is the rulebook of the installed package", where=str(root), hint=hint)


def _with_insertions(path: Path, insertions: Sequence[Insertion]) -> str:
    text = read_text(path)
    document = YamlText(text)
    for insertion in insertions:
        document.insert(insertion.into, insertion.lines, flow=insertion.flow)
    return document.with_insertions()


def _check_texts(
    texts: Mapping[str, str], root: Path, old: Mapping[str, YamlDocument | None], scaffold: PropositionScaffold
) -> dict[str, YamlDocument]:
    """Checks that the new files contain the old content, the insertions and the expected errors, and nothing else.

    Returns:
        The new documents by file name.

    Raises:
        InputError: The layout of a file is so unusual that an inserted line changes its other content.
    """
    with tempfile.TemporaryDirectory(prefix="rbr-new-") as scratch:
        copy = Path(scratch)
        shutil.copyfile(root / CONTENT_POLICY_FILE, copy / CONTENT_POLICY_FILE)
        for file, text in texts.items():
            (copy / file).write_bytes(text.encode())
        problems = read_rulebook_files(copy).problems
        documents = {}
        for file in texts:
            where = [problem.where for problem in problems if isinstance(problem.where, Location)]
            errors = {place.key_path for place in where if place.file == str(copy / file)}
            document = old[file]
            assert document is not None
            expected = deepcopy(document.content)
            for insertion in scaffold.insertions(file):
                _set(expected, insertion)
            try:
                documents[file] = read_yaml(copy / file)
                fits = documents[file].content == expected and errors == scaffold.left_to_fill_in(file)
            except InputError:
                fits = False
            if not fits:
                what = "the proposition cannot be inserted without a change of other lines"
                hint = "Write the entries of the file one per line, or add the proposition by hand."
                raise InputError(what, where=Location(str(root / file)), hint=hint)
    return documents


def _set(content: Any, insertion: Insertion) -> None:
    for key in insertion.into:
        content = content[key]
    if isinstance(content, list):
        content.append(insertion.value)
    else:
        content[insertion.at] = insertion.value
