"""Warns about rules, slots and examples that load, but have no effect or contradict each other.

A warning is never a guess: it is true for all possible replies.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from rbr.errors import InputError, KeyPath
from rbr.rulebook.class_diagram import ClassDiagram, compile_classes
from rbr.rulebook.class_effects import proposition_effects
from rbr.rulebook.cross_references import Finding
from rbr.rulebook.dependencies import derived_in_use, propositions_needed
from rbr.rulebook.expressions import parse_expression
from rbr.rulebook.load import RulebookFile, read_rulebook_files
from rbr.rulebook.parts import (
    DEFAULT_MARGIN,
    Behavior,
    ContentPolicy,
    Proposition,
    Propositions,
    Rulebook,
    Synthesis,
)
from rbr.rulebook.recipe_lint import lint_recipes

Diagrams = dict[str, ClassDiagram]


@dataclass(frozen=True)
class LintReport:
    """The errors and warnings of a rulebook.

    Attributes:
        errors: Problems that make the rulebook unusable.
        warnings: Rules, slots and examples that have no effect or contradict each other. If there are errors, warnings
            are not computed, and the tuple is empty.

    Example:
        >>> lint_rulebook("rulebook")
        LintReport(errors=(), warnings=())
    """

    errors: tuple[InputError, ...]
    warnings: tuple[InputError, ...]


def lint_rulebook(directory: str | Path) -> LintReport:
    """Checks a rulebook.

    Args:
        directory: Directory with the four files, each of which is read once.

    Returns:
        All errors, or all warnings if there is no error. A directory that does not exist is also an error.

    Example:
        >>> lint_rulebook("nowhere").errors[0].what
        'the directory does not exist'
    """
    try:
        files = read_rulebook_files(directory)
        rulebook = files.rulebook()
    except InputError as error:
        return LintReport(tuple(error.problems), ())
    behavior = rulebook.behavior
    diagrams = {name: compile_classes(behavior, name) for name in behavior.response_types}
    warnings = [
        *_warnings(files.propositions, _check_propositions(rulebook.propositions, behavior)),
        *_warnings(files.behavior, _check_behavior(rulebook, diagrams)),
        *_warnings(files.synthesis, lint_recipes(rulebook.synthesis, diagrams)),
        *_warnings(files.content_policy, _check_content_policy(rulebook.content_policy)),
    ]
    return LintReport((), tuple(warnings))


def _warnings(file: RulebookFile, findings: Iterable[Finding]) -> tuple[InputError, ...]:
    return file.with_findings(findings).problems


def _check_propositions(propositions: Propositions, behavior: Behavior) -> Iterator[Finding]:
    asked = {name for response_type in behavior.response_types for name in propositions_needed(behavior, response_type)}
    for name, proposition in propositions.items():
        if name not in asked:
            what = f"{name!r} is never asked: no class depends on it, and it is not a feature"
            yield Finding((name,), what, "Use the proposition in behavior.yaml, or remove it.")
        yield from _check_examples(name, proposition)
    yield from _check_questions({name: entry.question for name, entry in propositions.items()}, ())


def _check_examples(name: str, proposition: Proposition) -> Iterator[Finding]:
    seen: dict[tuple[str | None, str], tuple[int, bool]] = {}
    for index, example in enumerate(proposition.examples):
        first, answer = seen.setdefault((example.prompt, example.reply), (index, example.answer))
        if first == index:
            continue
        relation = "contradicts" if answer != example.answer else "is the same as"
        hint = "Remove the example that is wrong." if answer != example.answer else "Remove one of the two."
        yield Finding((name, "examples", index), f"the example {relation} example {first + 1}", hint)


def _check_questions(questions: Mapping[str, str], path: KeyPath) -> Iterator[Finding]:
    """Warns about entries with the same question.

    Args:
        questions: Question by name of the entry.
        path: Key path of the mapping that contains the entries.
    """
    names: dict[str, str] = {}
    for name, question in questions.items():
        first = names.setdefault(" ".join(question.lower().split()), name)
        if first != name:
            what = f"the question is the same as for {first!r}: the grader cannot tell the two apart"
            yield Finding((*path, name, "question"), what, "Remove one of the two, or ask another question.")


def _check_behavior(rulebook: Rulebook, diagrams: Diagrams) -> Iterator[Finding]:
    behavior = rulebook.behavior
    yield from _check_definitions(behavior)
    for response_type, diagram in diagrams.items():
        yield from _check_effects(response_type, diagram)
        yield from _check_signs(behavior, response_type, diagram)
        yield from _check_margins(behavior, response_type)
        yield from _check_ranking_against_classes(behavior, response_type, rulebook.synthesis)
    yield from _check_rankings(behavior)
    yield from _check_metrics(behavior, diagrams)
    used = {category.response_type for category in rulebook.content_policy.categories.values()}
    for response_type in behavior.response_types:
        if response_type not in used:
            what = f"no category has the response type {response_type!r}"
            hint = "Assign the response type to a category in content_policy.yaml, or remove the response type."
            yield Finding(("response_types", response_type), what, hint)


def _check_definitions(behavior: Behavior) -> Iterator[Finding]:
    """Warns about derived propositions and class names that no response type uses."""
    texts = [text for rules in behavior.response_types.values() for text in rules.classes.values()]
    derived = {name: parse_expression(text) for name, text in behavior.derived.items()}
    in_use = derived_in_use(map(parse_expression, texts), derived)
    for name in derived:
        if name not in in_use:
            what = f"no class depends on the derived proposition {name!r}"
            yield Finding(("derived", name), what, "Use the derived proposition in a class, or remove it.")
    for index, name in enumerate(behavior.classes):
        if not any(name in rules.classes for rules in behavior.response_types.values()):
            what = f"no response type has the class {name!r}"
            yield Finding(("classes", index), what, "Define the class for a response type, or remove it.")


def _check_effects(response_type: str, diagram: ClassDiagram) -> Iterator[Finding]:
    """Warns about classes that no reply reaches, and about propositions that no class depends on."""
    path = ("response_types", response_type, "classes")
    for name in diagram.classes:
        if name not in diagram.reachable_classes:
            what = f"no reply can fall into the class {name!r}: its conditions contradict each other"
            yield Finding((*path, name), what, "Correct the conditions, or remove the class.")
    for name in diagram.propositions:
        if name not in diagram.deciding_propositions:
            what = f"the rules mention {name!r}, but it never changes the class of a reply"
            yield Finding(path, what, "Simplify or correct the expressions.")


def _check_signs(behavior: Behavior, response_type: str, diagram: ClassDiagram) -> Iterator[Finding]:
    """Warns about a declared sign of a feature that the classes contradict for some reply."""
    effects = proposition_effects(diagram)
    for name, sign in behavior.response_types[response_type].signs.items():
        effect = effects.get(name)
        path = ("response_types", response_type, "signs", name)
        if effect is not None and sign == "undesired" and effect.improves:
            what = f"{name!r} is declared undesired, but some replies get a better class if it becomes true"
            yield Finding(path, what, "Correct the sign or the classes, or remove the sign.")
        if effect is not None and sign == "desired" and effect.worsens:
            what = f"{name!r} is declared desired, but some replies get a worse class if it becomes true"
            yield Finding(path, what, "Correct the sign or the classes, or remove the sign.")


def _check_margins(behavior: Behavior, response_type: str) -> Iterator[Finding]:
    rules = behavior.response_types[response_type]
    for label in rules.ranking[-1]:
        if rules.margins[label] != DEFAULT_MARGIN:
            what = f"the margin of {label!r} has no effect: no label is ranked below it"
            hint = "Remove the margin, or rank the label higher."
            yield Finding(("response_types", response_type, "margins", label), what, hint)


def _check_ranking_against_classes(behavior: Behavior, response_type: str, synthesis: Synthesis) -> Iterator[Finding]:
    """Warns about a label that is ranked above another label although its slots accept only worse classes."""
    class_rank = {name: rank for rank, name in enumerate(behavior.classes)}
    ranks: dict[str, set[int]] = {}
    for slot in synthesis[response_type].slots:
        ranks.setdefault(slot.label, set()).update(class_rank[name] for name in slot.may_be)
    for path, better, worse in _ranked_pairs(behavior, response_type):
        if min(ranks[better]) > max(ranks[worse]):
            what = f"{better!r} is ranked above {worse!r}, but the slots of {better!r} accept only worse classes"
            yield Finding(path, what, "Reverse the ranking, or correct `may_be` in synthesis.yaml.")


def _check_rankings(behavior: Behavior) -> Iterator[Finding]:
    """Warns about two labels that two response types rank in opposite order."""
    first: dict[tuple[str, str], str] = {}
    for response_type in behavior.response_types:
        for path, better, worse in _ranked_pairs(behavior, response_type):
            first.setdefault((better, worse), response_type)
            if (worse, better) in first:
                what = f"{better!r} is ranked above {worse!r} here, but below it in {first[worse, better]}"
                yield Finding(path, what, "Reverse one of the rankings, or rename the labels.")


def _ranked_pairs(behavior: Behavior, response_type: str) -> Iterator[tuple[KeyPath, str, str]]:
    """Yields each pair of a better and a worse label, with the key path of the better one."""
    ranking = behavior.response_types[response_type].ranking
    for (rank, better), (_, worse) in combinations(enumerate(ranking), 2):
        for index, upper in enumerate(better):
            for lower in worse:
                yield ("response_types", response_type, "ranking", rank, index), upper, lower


def _check_metrics(behavior: Behavior, diagrams: Diagrams) -> Iterator[Finding]:
    for metric in type(behavior.metrics).model_fields:
        share = getattr(behavior.metrics, metric)
        reachable = {
            name for response_type in share.response_types for name in diagrams[response_type].reachable_classes
        }
        if reachable.isdisjoint(share.classes):
            what = f"the metric {metric!r} is always 0: no reply to its response types can fall into its classes"
            yield Finding(("metrics", metric), what, "Choose other classes or response types.")


def _check_content_policy(content_policy: ContentPolicy) -> Iterator[Finding]:
    questions = {code: category.question for code, category in content_policy.categories.items()}
    return _check_questions(questions, ("categories",))
