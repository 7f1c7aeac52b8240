"""Loads the files of a rulebook. Each file is read once, and all problems are reported together."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from rbr.errors import InputError, Location
from rbr.files.schema_errors import validate
from rbr.files.yaml_file import YamlDocument, read_yaml
from rbr.rulebook.cross_references import (
    Finding,
    check_behavior,
    check_content_policy,
    check_partition,
    check_propositions,
    check_recipes,
    check_requests,
    check_synthesis,
    located,
)
from rbr.rulebook.parts import Behavior, ContentPolicy, Propositions, Rulebook, Synthesis

PROPOSITIONS_FILE = "propositions.yaml"
SYNTHESIS_FILE = "synthesis.yaml"
BEHAVIOR_FILE = "behavior.yaml"
CONTENT_POLICY_FILE = "content_policy.yaml"

Part = TypeVar("Part", bound=BaseModel)


@dataclass(frozen=True)
class RulebookFile(Generic[Part]):
    """One file of a rulebook, and its problems.

    Attributes:
        content: The part of the rulebook; None if the file does not fit the schema.
        document: YAML content with positions; None if the file cannot be read or is not plain YAML.
        problems: Problems to correct in this file. They include names that the other files do not define.

    Example:
        >>> file = read_rulebook_files("rulebook").synthesis
        >>> len(file.content), file.problems
        (4, ())
    """

    content: Part | None
    document: YamlDocument | None
    problems: tuple[InputError, ...] = ()

    def usable(self) -> Part:
        """Returns the part of the rulebook.

        Raises:
            InputError: The file has problems; the error contains all of them.
        """
        if self.problems or self.content is None:
            raise InputError.collect(self.problems)
        return self.content

    def with_findings(self, findings: Iterable[Finding]) -> "RulebookFile[Part]":
        """Returns a copy with further problems, in the order of their lines."""
        if self.document is None:
            return self
        return RulebookFile(self.content, self.document, (*self.problems, *located(findings, self.document)))


@dataclass(frozen=True)
class RulebookFiles:
    """The four files of a rulebook, and their problems.

    Example:
        >>> files = read_rulebook_files("rulebook")
        >>> files.problems
        ()
        >>> files.rulebook().behavior.classes[0]
        'ideal'
    """

    propositions: RulebookFile[Propositions]
    synthesis: RulebookFile[Synthesis]
    behavior: RulebookFile[Behavior]
    content_policy: RulebookFile[ContentPolicy]

    @property
    def problems(self) -> tuple[InputError, ...]:
        """All problems, file by file."""
        files: list[RulebookFile] = [self.propositions, self.synthesis, self.behavior, self.content_policy]
        return tuple(problem for file in files for problem in file.problems)

    def rulebook(self) -> Rulebook:
        """Returns the rulebook.

        Raises:
            InputError: A file has problems; the error contains all problems of all files.
        """
        if self.problems:
            raise InputError.collect(self.problems)
        return Rulebook(
            propositions=self.propositions.usable(),
            synthesis=self.synthesis.usable(),
            behavior=self.behavior.usable(),
            content_policy=self.content_policy.usable(),
        )


def read_rulebook_files(directory: str | Path) -> RulebookFiles:
    """Reads the files of a rulebook, each once, and checks them against each other.

    Args:
        directory: Directory with ``propositions.yaml``, ``synthesis.yaml``, ``behavior.yaml`` and
            ``content_policy.yaml``.

    Returns:
        Each file with its problems. If two files disagree, the problem is listed for the file to correct.

    Raises:
        InputError: The directory does not exist, or the path is not a directory.

    Example:
        >>> read_rulebook_files("rulebook").behavior.usable().classes[-1]
        'disallowed'
    """
    root = Path(directory)
    if root.exists() and not root.is_dir():
        hint = f"Give the directory that contains {PROPOSITIONS_FILE} and the other files of the rulebook."
        raise InputError("the path is not a directory", where=Location(str(directory)), hint=hint)
    if not root.is_dir():
        hint = "Check the path of the rulebook."
        raise InputError("the directory does not exist", where=Location(str(directory)), hint=hint)
    propositions = _read(Propositions, root / PROPOSITIONS_FILE)
    synthesis = _read(Synthesis, root / SYNTHESIS_FILE)
    behavior = _read(Behavior, root / BEHAVIOR_FILE)
    content_policy = _read(ContentPolicy, root / CONTENT_POLICY_FILE)
    if (recipes := synthesis.content) is not None:
        synthesis = synthesis.with_findings(_synthesis_findings(recipes, behavior.content, propositions.content))
    if (rules := behavior.content) is not None:
        behavior = behavior.with_findings(_behavior_findings(rules, propositions.content, synthesis.content))
        if content_policy.content is not None:
            content_policy = content_policy.with_findings(check_content_policy(content_policy.content, rules))
    return RulebookFiles(propositions, synthesis, behavior, content_policy)


def load_rulebook(directory: str | Path) -> Rulebook:
    """Loads a whole rulebook and checks its parts against each other.

    Args:
        directory: Directory with ``propositions.yaml``, ``synthesis.yaml``, ``behavior.yaml`` and
            ``content_policy.yaml``.

    Raises:
        InputError: A file cannot be used, or the parts disagree. All problems are reported with their lines.

    Example:
        >>> rulebook = load_rulebook("rulebook")
        >>> rulebook.content_policy.response_type("K-R")
        'hard_refusal'
    """
    return read_rulebook_files(directory).rulebook()


def load_propositions(path: str | Path) -> Propositions:
    """Loads the propositions alone.

    Args:
        path: File such as ``rulebook/propositions.yaml``.

    Raises:
        InputError: The file cannot be used. All problems are reported with their lines.

    Example:
        >>> load_propositions("rulebook/propositions.yaml")["apology"].question
        'Does the reply contain exactly one short apology?'
    """
    return _read(Propositions, Path(path)).usable()


def load_synthesis(path: str | Path) -> Synthesis:
    """Loads the recipes for synthetic comparisons alone.

    Args:
        path: File such as ``rulebook/synthesis.yaml``.

    Raises:
        InputError: The file cannot be used. All problems are reported with their lines.

    Example:
        >>> [slot.name for slot in load_synthesis("rulebook/synthesis.yaml")["hard_refusal"].slots]
        ['ideal', 'bad_1', 'bad_2', 'disallowed']
    """
    return _read(Synthesis, Path(path)).usable()


def load_behavior(path: str | Path) -> Behavior:
    """Loads the behavior policy alone.

    Args:
        path: File such as ``rulebook/behavior.yaml``. The names of propositions are not checked, because another
            file defines them.

    Raises:
        InputError: The file cannot be used, or classes overlap or leave a gap. All problems are reported with their
            lines.

    Example:
        >>> load_behavior("rulebook/behavior.yaml").class_names("comply")[0]
        'ideal'
    """
    file = _read(Behavior, Path(path))
    return file.with_findings(_behavior_findings(file.usable(), None, None)).usable()


def load_content_policy(path: str | Path) -> ContentPolicy:
    """Loads the content policy alone.

    Args:
        path: File such as ``rulebook/content_policy.yaml``.

    Raises:
        InputError: The file cannot be used. All problems are reported with their lines.

    Example:
        >>> load_content_policy("rulebook/content_policy.yaml").response_type("None")
        'comply'
    """
    return _read(ContentPolicy, Path(path)).usable()


def default_rulebook() -> Path:
    """Returns the directory of the default rulebook: in the clone, or in the installed package.

    Example:
        >>> sorted(path.name for path in default_rulebook().iterdir())
        ['behavior.yaml', 'content_policy.yaml', 'propositions.yaml', 'synthesis.yaml']
    """
    clone = Path(__file__).resolve().parents[2] / "rulebook"
    return clone if clone.is_dir() else Path(__file__).resolve().parents[1] / "default_rulebook"


def _read(model: type[Part], path: Path) -> RulebookFile[Part]:
    """Reads a file. Returns its problems instead of raising them."""
    document: YamlDocument | None = None
    try:
        document = read_yaml(path)
        return RulebookFile(validate(model, document), document)
    except InputError as error:
        return RulebookFile(None, document, error.problems)


def _synthesis_findings(recipes: Synthesis, rules: Behavior | None, propositions: Propositions | None) -> list[Finding]:
    """Checks the recipes against the other parts unless they are None."""
    findings = [] if rules is None else list(check_synthesis(recipes, rules))
    if propositions is not None:
        findings += check_requests(recipes, propositions, () if rules is None else rules.derived)
    return findings


def _behavior_findings(
    rules: Behavior, propositions: Propositions | None, synthesis: Synthesis | None
) -> list[Finding]:
    """Checks a behavior policy alone, and against the other parts unless they are None."""
    findings = list(check_behavior(rules))
    if propositions is not None:
        findings += check_propositions(rules, propositions)
    # A misspelled name also causes an overlap or a gap, which would only confuse the user.
    findings = findings or list(check_partition(rules))
    if synthesis is not None:
        findings += check_recipes(rules, synthesis)
    return findings
