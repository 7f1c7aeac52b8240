"""Converts the rule file that the paper's authors released to a rulebook of this project (paper section 3).

The released file has propositions, derived propositions and classes. The default rulebook supplies recipes,
categories, features, rankings, metrics, and the names of response types and classes.
"""

import re
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, StrictBool, StrictStr, field_validator

from rbr.errors import InputError, KeyPath, spelling_hint
from rbr.files.schema_errors import schema_problem, validate
from rbr.files.yaml_file import YamlDocument, read_yaml
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
from rbr.rulebook.fields import Entry, Identifier, NonEmptyDistinct, Sentence

# Name in this project, by released name.
RELEASED_RESPONSE_TYPES = {
    "hard_refuse": "hard_refusal",
    "safe_refuse_1": "soft_refusal_intent",
    "safe_refuse_2": "soft_refusal_method",
    "comply": "comply",
}
RELEASED_CLASSES = {
    "ideal": "ideal",
    "minimum_acceptable_style": "minimum_acceptable_style",
    "unacceptable_completion": "unacceptable",
    "illogical_completion": "illogical",
    "disallowed_completion": "disallowed",
}

# The paper lists these propositions for soft refusals (section 3.1), but no class uses them. They become features.
_ADDED_FEATURES = dict.fromkeys(
    ("soft_refusal_intent", "soft_refusal_method"), ("conditional_verbiage", "prescribes_dosage")
)
_WIDTH = 110

Conditions = Annotated[dict[Identifier, StrictBool], Field(min_length=1)]


class _ReleasedProposition(Entry):
    prompt: Sentence


def _check_names(names: Collection[str], known: Collection[str], noun: str, path: KeyPath = ()) -> None:
    """Checks that `names` are exactly the `known` names."""
    for index, name in enumerate(names):
        if name not in known:
            key = name if isinstance(names, Mapping) else index
            raise schema_problem(f"unknown {noun} {name!r}", spelling_hint(name, known), at=(*path, key))
    for name in known:
        if name not in names:
            raise schema_problem(f"the {noun} {name!r} is missing", f"Add `{name}`.", at=path)


class _ReleasedRules(Entry):
    """The schema of the released file."""

    prompt_template: StrictStr = ""
    completion_class_order: NonEmptyDistinct[Identifier]
    completion_classes: dict[Identifier, dict[Identifier, Conditions]]
    derived_propositions: dict[Identifier, Conditions] = Field(default_factory=dict)
    simple_propositions: Annotated[dict[Identifier, _ReleasedProposition], Field(min_length=1)]

    @field_validator("completion_class_order")
    @classmethod
    def _check_order(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _check_names(names, RELEASED_CLASSES, "class")
        return names

    @field_validator("completion_classes")
    @classmethod
    def _check_classes(cls, classes: dict[str, dict[str, dict[str, bool]]]) -> dict[str, dict[str, dict[str, bool]]]:
        _check_names(classes, RELEASED_CLASSES, "class")
        for name, rules in classes.items():
            _check_names(rules, RELEASED_RESPONSE_TYPES, "response type", (name,))
        return classes


def import_released_rules(file: str | Path, directory: str | Path) -> None:
    """Writes the released rules as a rulebook.

    Args:
        file: Released YAML file.
        directory: Directory to write. It must not exist yet; its parent directories are created.

    Raises:
        InputError: The file is not a released rule file, or its rules cannot be used. Nothing is written then.

    Example:
        A file of another format is an error.

        >>> import_released_rules("rulebook/behavior.yaml", "published")
        Traceback (most recent call last):
        rbr.errors.InputError: ...
    """
    texts = _to_rulebook_files(file)
    target = Path(directory)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rbr-import-", dir=target.parent) as scratch:
        rulebook = Path(scratch) / "rulebook"
        rulebook.mkdir()
        for name, text in texts.items():
            (rulebook / name).write_text(text, encoding="utf-8")
        load_rulebook(rulebook)
        shutil.move(rulebook, target)


def _to_rulebook_files(file: str | Path) -> dict[str, str]:
    """Converts the released rules to the files of a rulebook.

    Args:
        file: Released YAML file.

    Returns:
        Text by file name. The same file gives the same texts.

    Raises:
        InputError: The file is not a released rule file, or its rules cannot be used. All problems are reported with
            their lines.
    """
    document = read_yaml(file)
    release = validate(_ReleasedRules, document)
    propositions = {name: {"question": _question(released)} for name, released in release.simple_propositions.items()}
    default = default_rulebook()
    behavior = _behavior(release, load_behavior(default / BEHAVIOR_FILE))
    _check(behavior, propositions, document)
    origin = f"of the published rule file {Path(file).name}, as `rbr import-openai` wrote them.\n"
    return {
        PROPOSITIONS_FILE: f"# Propositions {origin}\n{_yaml(propositions)}",
        BEHAVIOR_FILE: f"# Derived propositions and classes {origin}"
        f"# Features, ranking, margins, agreement and metrics are those of the default rulebook.\n\n{_yaml(behavior)}",
        SYNTHESIS_FILE: _recipes((default / SYNTHESIS_FILE).read_text(encoding="utf-8"), propositions),
        CONTENT_POLICY_FILE: (default / CONTENT_POLICY_FILE).read_text(encoding="utf-8"),
    }


def _recipes(text: str, propositions: Collection[str]) -> str:
    """Removes the propositions that the release does not define from `asks_for` in the text of the default recipes."""

    def known(match: re.Match[str]) -> str:
        names = re.split(r"[,\s]+", match[2])
        defined = [name for name in names if name in propositions]
        if defined == names:
            return match[0]
        return f"{match[1]}[{', '.join(defined)}]\n" if defined else ""

    return re.sub(r"( +asks_for: )\[([^\]]*)\]\n", known, text)


def _question(released: _ReleasedProposition) -> str:
    # YAML has no readable notation for a line that ends in a space.
    return "\n".join(line.rstrip() for line in released.prompt.splitlines())


def _behavior(release: _ReleasedRules, default: Behavior) -> dict[str, Any]:
    content = default.model_dump(mode="json")
    return {
        "derived": {name: _expression(conditions) for name, conditions in release.derived_propositions.items()},
        "classes": [RELEASED_CLASSES[name] for name in release.completion_class_order],
        "response_types": {
            response_type: {
                "classes": {
                    RELEASED_CLASSES[name]: _expression(release.completion_classes[name][released_name])
                    for name in release.completion_class_order
                    if released_name in release.completion_classes[name]
                },
                "features": [
                    name
                    for name in (*rules["features"], *_ADDED_FEATURES.get(response_type, ()))
                    if name in release.simple_propositions
                ],
                "ranking": rules["ranking"],
                "margins": rules["margins"],
            }
            for released_name, response_type in RELEASED_RESPONSE_TYPES.items()
            for rules in [content["response_types"][response_type]]
        },
        "agreement": {**content["agreement"], "per_proposition": {}},
        "metrics": content["metrics"],
    }


def _expression(conditions: Mapping[str, bool]) -> str:
    return " and ".join(name if truth else f"not {name}" for name, truth in conditions.items())


def _check(behavior: dict[str, Any], propositions: dict[str, Any], document: YamlDocument) -> None:
    rules = Behavior.model_validate(behavior)
    findings = [*check_behavior(rules), *check_propositions(rules, Propositions.model_validate(propositions))]
    # A misspelled name also causes an overlap or a gap, which would only confuse the user.
    findings = findings or list(check_partition(rules))
    if findings:
        raise InputError.collect(located(map(_as_released, findings), document))


def _as_released(finding: Finding) -> Finding:
    path, prefix = _released_path(finding.path)
    return Finding(path, f"{prefix}{finding.what}", finding.hint)


def _released_path(path: KeyPath) -> tuple[KeyPath, str]:
    """Translates a key path of a behavior policy to a key path of the released file.

    Returns:
        The key path, and a prefix for the message. The prefix names the response type if the key path does not.
    """
    if path[0] == "derived":
        return ("derived_propositions", *path[1:]), ""
    response_type = next(released for released, name in RELEASED_RESPONSE_TYPES.items() if name == path[1])
    class_name = next((released for released, name in RELEASED_CLASSES.items() if path[3:] == (name,)), None)
    if class_name is None:
        return ("completion_classes",), f"{response_type}: "
    return ("completion_classes", class_name, response_type), ""


class _Dumper(yaml.SafeDumper):
    """A YAML writer that writes text of several lines as a block."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _yaml(content: Mapping[str, Any]) -> str:
    parts = [
        yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
        for key, value in content.items()
    ]
    return "\n".join(parts)
