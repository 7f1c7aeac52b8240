"""The rule file that the paper's authors released, as a rulebook of this project (paper section 3).

The file holds propositions, derived propositions and classes. What it leaves out (recipes, categories, features,
ranking, metrics) comes from the default rulebook, and so do the names of response types and classes.
"""

import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, StrictBool, StrictStr, field_validator

from rbr.errors import InputError
from rbr.files.schema_errors import validated
from rbr.files.yaml_file import Document, KeyPath, read_document
from rbr.rulebook import (
    BEHAVIOR_FILE,
    CONTENT_POLICY_FILE,
    PROPOSITIONS_FILE,
    SYNTHESIS_FILE,
    Behavior,
    Propositions,
    default_rulebook,
    load_behavior,
    load_rulebook,
)
from rbr.rulebook.cross_references import Finding, check_behavior, check_partition, check_propositions, located
from rbr.rulebook.fields import Entry, Identifier, Sentence, Some, complaint, nearest

RESPONSE_TYPES = {
    "hard_refuse": "hard_refusal",
    "safe_refuse_1": "soft_refusal_intent",
    "safe_refuse_2": "soft_refusal_method",
    "comply": "comply",
}
CLASSES = {
    "ideal": "ideal",
    "minimum_acceptable_style": "minimum_acceptable_style",
    "unacceptable_completion": "unacceptable",
    "illogical_completion": "illogical",
    "disallowed_completion": "disallowed",
}

# Published beside the others of soft refusals (section 3.1), but read by no class; as features they are of use.
_IN_NO_CLASS = dict.fromkeys(
    ("soft_refusal_intent", "soft_refusal_method"), ("conditional_verbiage", "prescribes_dosage")
)
_WIDTH = 110

Conditions = Annotated[dict[Identifier, StrictBool], Field(min_length=1)]


class _Asked(Entry):
    prompt: Sentence


def _known(names: Collection[str], known: Collection[str], kind: str, at: KeyPath = ()) -> None:
    for index, name in enumerate(names):
        if name not in known:
            key = name if isinstance(names, Mapping) else index
            raise complaint(f"{name!r} is no known {kind}", nearest(name, known), at=(*at, key))
    for name in known:
        if name not in names:
            raise complaint(f"the {kind} {name!r} is missing", f"Add `{name}`.", at=at)


class _Release(Entry):
    """The file's own shape."""

    prompt_template: StrictStr = ""
    completion_class_order: Some[Identifier]
    completion_classes: dict[Identifier, dict[Identifier, Conditions]]
    derived_propositions: dict[Identifier, Conditions] = Field(default_factory=dict)
    simple_propositions: Annotated[dict[Identifier, _Asked], Field(min_length=1)]

    @field_validator("completion_class_order")
    @classmethod
    def _order_all(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _known(names, CLASSES, "class")
        return names

    @field_validator("completion_classes")
    @classmethod
    def _define_all(cls, classes: dict[str, dict[str, dict[str, bool]]]) -> dict[str, dict[str, dict[str, bool]]]:
        _known(classes, CLASSES, "class")
        for name, rules in classes.items():
            _known(rules, RESPONSE_TYPES, "response type", (name,))
        return classes


def import_release(file: str | Path, directory: str | Path) -> None:
    """Writes the released rules as a rulebook.

    Args:
        file: The released YAML file.
        directory: Where to; its parent is made, itself it must not exist.

    Raises:
        InputError: The file is no such release, or its rules cannot be used; nothing was written then.
    """
    texts = as_rulebook(file)
    target = Path(directory)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rbr-import-", dir=target.parent) as scratch:
        rulebook = Path(scratch) / "rulebook"
        rulebook.mkdir()
        for name, text in texts.items():
            (rulebook / name).write_text(text, encoding="utf-8")
        load_rulebook(rulebook)
        shutil.move(rulebook, target)


def as_rulebook(file: str | Path) -> dict[str, str]:
    """The released rules as the files of a rulebook.

    Args:
        file: The released YAML file.

    Returns:
        Text by file name; the same file gives the same texts.

    Raises:
        InputError: The file is no such release, or its rules cannot be used; all problems with their lines.
    """
    document = read_document(file)
    release = validated(_Release, document)
    propositions = {name: {"question": _question(asked)} for name, asked in release.simple_propositions.items()}
    default = default_rulebook()
    behavior = _behavior(release, load_behavior(default / BEHAVIOR_FILE))
    _check(behavior, propositions, document)
    origin = f"of the published rule file {Path(file).name}, as `rbr import-openai` wrote them.\n"
    return {
        PROPOSITIONS_FILE: f"# Propositions {origin}\n{_yaml(propositions)}",
        BEHAVIOR_FILE: f"# Derived propositions and classes {origin}"
        f"# Features, ranking, margins, agreement and metrics are those of the default rulebook.\n\n{_yaml(behavior)}",
        SYNTHESIS_FILE: (default / SYNTHESIS_FILE).read_text(encoding="utf-8"),
        CONTENT_POLICY_FILE: (default / CONTENT_POLICY_FILE).read_text(encoding="utf-8"),
    }


def _question(asked: _Asked) -> str:
    # YAML has no readable way to write a line that ends in a blank.
    return "\n".join(line.rstrip() for line in asked.prompt.splitlines())


def _behavior(release: _Release, default: Behavior) -> dict[str, Any]:
    ours = default.model_dump(mode="json")
    return {
        "derived": {name: _expression(conditions) for name, conditions in release.derived_propositions.items()},
        "classes": [CLASSES[name] for name in release.completion_class_order],
        "response_types": {
            kind: {
                "classes": {
                    CLASSES[name]: _expression(release.completion_classes[name][theirs])
                    for name in release.completion_class_order
                    if theirs in release.completion_classes[name]
                },
                "features": [
                    name
                    for name in (*rules["features"], *_IN_NO_CLASS.get(kind, ()))
                    if name in release.simple_propositions
                ],
                "ranking": rules["ranking"],
                "margins": rules["margins"],
            }
            for theirs, kind in RESPONSE_TYPES.items()
            for rules in [ours["response_types"][kind]]
        },
        "agreement": {**ours["agreement"], "per_proposition": {}},
        "metrics": ours["metrics"],
    }


def _expression(conditions: Mapping[str, bool]) -> str:
    return " and ".join(name if holds else f"not {name}" for name, holds in conditions.items())


def _check(behavior: dict[str, Any], propositions: dict[str, Any], document: Document) -> None:
    rules, known = Behavior.model_validate(behavior), Propositions.model_validate(propositions)
    findings = [*check_behavior(rules), *check_propositions(rules, known)]
    # A misspelt name would come back as a puzzling overlap or gap.
    findings = findings or list(check_partition(rules))
    if findings:
        raise InputError.collect(located(map(_as_released, findings), document))


def _as_released(finding: Finding) -> Finding:
    path, of_type = _origin(finding.path)
    return Finding(path, f"{of_type}{finding.what}", finding.hint)


def _origin(path: KeyPath) -> tuple[KeyPath, str]:
    """Where the release says what stands at a place of our behavior policy; the response type if that does not tell."""
    if path[0] == "derived":
        return ("derived_propositions", *path[1:]), ""
    theirs = next(name for name, ours in RESPONSE_TYPES.items() if ours == path[1])
    class_name = next((name for name, ours in CLASSES.items() if path[3:] == (ours,)), None)
    if class_name is None:
        return ("completion_classes",), f"{theirs}: "
    return ("completion_classes", class_name, theirs), ""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _yaml(content: Mapping[str, Any]) -> str:
    parts = [
        yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
        for key, value in content.items()
    ]
    return "\n".join(parts)
