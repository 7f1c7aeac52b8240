"""Loads the files of a rulebook; whatever is wrong with them comes out as a `InputError`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from rbr.errors import InputError
from rbr.files.schema_errors import validated
from rbr.files.yaml_file import Document, scan_document
from rbr.hashing import content_hash
from rbr.rulebook.cross_references import (
    check_behavior,
    check_content_policy,
    check_partition,
    check_propositions,
    check_recipes,
    check_synthesis,
    located,
)
from rbr.rulebook.models import Behavior, ContentPolicy, Propositions, Rulebook, Synthesis

PROPOSITIONS_FILE = "propositions.yaml"
SYNTHESIS_FILE = "synthesis.yaml"
BEHAVIOR_FILE = "behavior.yaml"
CONTENT_POLICY_FILE = "content_policy.yaml"

Part = TypeVar("Part", bound=BaseModel)


def load_propositions(path: str | Path) -> Propositions:
    """Loads the propositions.

    Args:
        path: A file such as ``rulebook/propositions.yaml``.

    Raises:
        InputError: The file cannot be used; all problems with their lines.
    """
    return validated(Propositions, scan_document(path))


def load_synthesis(path: str | Path) -> Synthesis:
    """Loads the recipes for synthetic comparisons.

    Args:
        path: A file such as ``rulebook/synthesis.yaml``.

    Raises:
        InputError: The file cannot be used; all problems with their lines.
    """
    return validated(Synthesis, scan_document(path))


def load_behavior(path: str | Path) -> Behavior:
    """Loads the behavior policy.

    Args:
        path: A file such as ``rulebook/behavior.yaml``. Names of propositions are not checked here, as
            another file defines them.

    Raises:
        InputError: The file cannot be used, or classes overlap or leave a gap; all problems with
            their lines.
    """
    document = scan_document(path)
    behavior = validated(Behavior, document)
    _refuse(located(check_behavior(behavior), document))
    _refuse(located(check_partition(behavior), document))
    return behavior


def load_content_policy(path: str | Path) -> ContentPolicy:
    """Loads the content policy.

    Args:
        path: A file such as ``rulebook/content_policy.yaml``.

    Raises:
        InputError: The file cannot be used; all problems with their lines.
    """
    return validated(ContentPolicy, scan_document(path))


def load_rulebook(directory: str | Path) -> Rulebook:
    """Loads a whole rulebook and checks its parts against each other.

    Args:
        directory: Holds ``propositions.yaml``, ``synthesis.yaml``, ``behavior.yaml`` and
            ``content_policy.yaml``.

    Raises:
        InputError: Any file cannot be used, or the parts disagree; all problems with their lines.
    """
    root = Path(directory)
    if not root.is_dir():
        raise InputError("there is no such directory", where=str(directory), hint="Check the path of the rulebook.")
    problems: list[InputError] = []
    propositions = _attempt(Propositions, root / PROPOSITIONS_FILE, problems)
    synthesis = _attempt(Synthesis, root / SYNTHESIS_FILE, problems)
    behavior = _attempt(Behavior, root / BEHAVIOR_FILE, problems)
    content_policy = _attempt(ContentPolicy, root / CONTENT_POLICY_FILE, problems)
    if behavior:
        problems += _disagreements(behavior, propositions, synthesis, content_policy)
    if problems or not (propositions and synthesis and behavior and content_policy):
        raise InputError.collect(problems)
    return Rulebook(
        propositions=propositions.part,
        synthesis=synthesis.part,
        behavior=behavior.part,
        content_policy=content_policy.part,
    )


def default_rulebook() -> Path:
    """The directory of the default rulebook: that of the clone, or its copy in an installed package."""
    clone = Path(__file__).resolve().parents[2] / "rulebook"
    return clone if clone.is_dir() else Path(__file__).resolve().parents[1] / "default_rulebook"


def rulebook_hash(rulebook: Rulebook) -> str:
    """16 hexadecimal characters over the content of a rulebook; comments and key order do not count."""
    return content_hash(rulebook)


@dataclass(frozen=True)
class _Loaded(Generic[Part]):
    part: Part
    document: Document


def _attempt(model: type[Part], path: Path, problems: list[InputError]) -> _Loaded[Part] | None:
    try:
        document = scan_document(path)
        return _Loaded(validated(model, document), document)
    except InputError as error:
        problems.append(error)
        return None


def _disagreements(
    behavior: _Loaded[Behavior],
    propositions: _Loaded[Propositions] | None,
    synthesis: _Loaded[Synthesis] | None,
    content_policy: _Loaded[ContentPolicy] | None,
) -> list[InputError]:
    """What is wrong between the behavior policy and those of the other parts that could be read."""
    rules, document = behavior.part, behavior.document
    problems = located(check_behavior(rules), document)
    if propositions:
        problems += located(check_propositions(rules, propositions.part), document)
    # A misspelt name would come back as a puzzling overlap or gap.
    problems = problems or located(check_partition(rules), document)
    if synthesis:
        problems += located(check_recipes(rules, synthesis.part), document)
        problems += located(check_synthesis(synthesis.part, rules), synthesis.document)
    if content_policy:
        problems += located(check_content_policy(content_policy.part, rules), content_policy.document)
    return problems


def _refuse(problems: list[InputError]) -> None:
    if problems:
        raise InputError.collect(problems)
