"""What in a rulebook that loads is still not meant: rules, slots and examples that can have no effect, or two.

Everything here is decided over all replies there could be, not guessed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from rbr.errors import InputError
from rbr.files.yaml_file import KeyPath, scan_document
from rbr.rulebook.class_diagram import ClassDiagram, compile_classes
from rbr.rulebook.cross_references import Finding, located
from rbr.rulebook.dependencies import derived_in_use, propositions_needed
from rbr.rulebook.expressions import parse
from rbr.rulebook.load import (
    BEHAVIOR_FILE,
    CONTENT_POLICY_FILE,
    PROPOSITIONS_FILE,
    SYNTHESIS_FILE,
    load_rulebook,
)
from rbr.rulebook.models import (
    DEFAULT_MARGIN,
    Behavior,
    ContentPolicy,
    Proposition,
    Propositions,
    Rulebook,
    Synthesis,
)

Diagrams = dict[str, ClassDiagram]


@dataclass(frozen=True)
class LintReport:
    """What is wrong with a rulebook, or may be.

    Attributes:
        errors: Why it cannot be used; empty where it can.
        warnings: What has no effect or contradicts itself; looked for only where there are no errors.
    """

    errors: tuple[InputError, ...]
    warnings: tuple[InputError, ...]


def lint(directory: str | Path) -> LintReport:
    """Looks through a rulebook.

    Args:
        directory: Holds the four files.
    """
    root = Path(directory)
    try:
        rulebook = load_rulebook(root)
    except InputError as error:
        return LintReport(tuple(error.problems), ())
    diagrams = {kind: compile_classes(rulebook.behavior, kind) for kind in rulebook.behavior.response_types}
    parts = {
        PROPOSITIONS_FILE: _in_propositions(rulebook.propositions, rulebook.behavior),
        BEHAVIOR_FILE: _in_behavior(rulebook, diagrams),
        SYNTHESIS_FILE: _in_synthesis(rulebook.synthesis, diagrams),
        CONTENT_POLICY_FILE: _in_content_policy(rulebook.content_policy),
    }
    warnings = [found for file, findings in parts.items() for found in located(findings, scan_document(root / file))]
    return LintReport((), tuple(warnings))


def _in_propositions(propositions: Propositions, behavior: Behavior) -> Iterator[Finding]:
    asked = {name for kind in behavior.response_types for name in propositions_needed(behavior, kind)}
    for name, proposition in propositions.items():
        if name not in asked:
            hint = "Use it in behavior.yaml, or remove it."
            yield Finding((name,), f"no class depends on {name!r} and it is no feature: it is never asked", hint)
        yield from _clashing_examples(name, proposition)
    yield from _asked_twice({name: entry.question for name, entry in propositions.items()}, ())


def _clashing_examples(name: str, proposition: Proposition) -> Iterator[Finding]:
    seen: dict[tuple[str | None, str], tuple[int, bool]] = {}
    for index, example in enumerate(proposition.examples):
        first, answer = seen.setdefault((example.prompt, example.reply), (index, example.answer))
        if first == index:
            continue
        what = "says the opposite of" if answer != example.answer else "is the same as"
        hint = "Keep the one that is right." if answer != example.answer else "Remove one of the two."
        yield Finding((name, "examples", index), f"the example {what} example {first + 1}", hint)


def _asked_twice(questions: Mapping[str, str], at: KeyPath) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name, question in questions.items():
        other = first.setdefault(" ".join(question.lower().split()), name)
        if other != name:
            what = f"the question is that of {other!r}: the grader cannot tell them apart"
            yield Finding((*at, name, "question"), what, "Remove one of the two, or ask something else.")


def _in_behavior(rulebook: Rulebook, diagrams: Diagrams) -> Iterator[Finding]:
    behavior = rulebook.behavior
    yield from _unused(behavior)
    for kind, diagram in diagrams.items():
        yield from _without_effect(kind, diagram)
        yield from _idle_margins(behavior, kind)
        yield from _ranked_against_classes(behavior, kind, rulebook.synthesis)
    yield from _contradicting_rankings(behavior)
    yield from _empty_metrics(behavior, diagrams)
    used = {category.response_type for category in rulebook.content_policy.categories.values()}
    for kind in behavior.response_types:
        if kind not in used:
            hint = "Give it to a category in content_policy.yaml, or remove it."
            yield Finding(("response_types", kind), f"no category is answered with {kind!r}", hint)


def _unused(behavior: Behavior) -> Iterator[Finding]:
    expressions = [parse(text) for rules in behavior.response_types.values() for text in rules.classes.values()]
    derived = {name: parse(text) for name, text in behavior.derived.items()}
    in_use = derived_in_use(expressions, derived)
    for name in derived:
        if name not in in_use:
            hint = "Use it in a class, or remove it."
            yield Finding(("derived", name), f"no class depends on the derived proposition {name!r}", hint)
    for index, name in enumerate(behavior.classes):
        if not any(name in rules.classes for rules in behavior.response_types.values()):
            yield Finding(("classes", index), f"no response type has the class {name!r}", "Define it, or remove it.")


def _without_effect(kind: str, diagram: ClassDiagram) -> Iterator[Finding]:
    at = ("response_types", kind, "classes")
    for name in diagram.classes:
        if name not in diagram.reachable_classes:
            what = f"no reply can fall into the class {name!r}: its conditions contradict each other"
            yield Finding((*at, name), what, "Correct them, or remove the class.")
    for name in diagram.propositions:
        if name not in diagram.deciding_propositions:
            what = f"the rules mention {name!r}, but it never changes the class"
            yield Finding(at, what, "Simplify the expressions, or correct them.")


def _idle_margins(behavior: Behavior, kind: str) -> Iterator[Finding]:
    rules = behavior.response_types[kind]
    for label in rules.ranking[-1]:
        if rules.margins[label] != DEFAULT_MARGIN:
            what = f"the margin of {label!r} has no effect: it is ranked above nothing"
            yield Finding(("response_types", kind, "margins", label), what, "Remove it, or rank the label higher.")


def _ranked_against_classes(behavior: Behavior, kind: str, synthesis: Synthesis) -> Iterator[Finding]:
    place = {name: index for index, name in enumerate(behavior.classes)}
    classes: dict[str, set[int]] = {}
    for slot in synthesis[kind].slots:
        classes.setdefault(slot.label, set()).update(place[name] for name in slot.may_be)
    ranking = behavior.response_types[kind].ranking
    for (high, better), (_, worse) in combinations(enumerate(ranking), 2):
        for index, upper in enumerate(better):
            for lower in worse:
                if min(classes[upper]) > max(classes[lower]):
                    what = f"{upper!r} is ranked above {lower!r}, but its slots take worse classes only"
                    hint = "Turn the ranking round, or correct `may_be` in synthesis.yaml."
                    yield Finding(("response_types", kind, "ranking", high, index), what, hint)


def _contradicting_rankings(behavior: Behavior) -> Iterator[Finding]:
    first: dict[tuple[str, str], str] = {}
    for kind, rules in behavior.response_types.items():
        for (high, better), (_, worse) in combinations(enumerate(rules.ranking), 2):
            for index, upper in enumerate(better):
                for lower in worse:
                    first.setdefault((upper, lower), kind)
                    if (lower, upper) in first:
                        what = f"{upper!r} is ranked above {lower!r} here and below it in {first[lower, upper]}"
                        hint = "Turn one of them round, or give the labels other names."
                        yield Finding(("response_types", kind, "ranking", high, index), what, hint)


def _empty_metrics(behavior: Behavior, diagrams: Diagrams) -> Iterator[Finding]:
    for metric in type(behavior.metrics).model_fields:
        share = getattr(behavior.metrics, metric)
        reached = {name for kind in share.response_types for name in diagrams[kind].reachable_classes}
        if reached.isdisjoint(share.classes):
            what = f"the metric {metric!r} is always 0: no reply to its response types can fall into its classes"
            yield Finding(("metrics", metric), what, "Name other classes or response types.")


def _in_synthesis(synthesis: Synthesis, diagrams: Diagrams) -> Iterator[Finding]:
    for kind, recipe in synthesis.items():
        reached = diagrams[kind].reachable_classes
        for index, slot in enumerate(recipe.slots):
            if reached.isdisjoint(slot.may_be):
                what = f"the slot {slot.name!r} can never be filled: no reply falls into the classes it may be"
                yield Finding((kind, "slots", index, "may_be"), what, "Name classes that replies can fall into.")


def _in_content_policy(content_policy: ContentPolicy) -> Iterator[Finding]:
    questions = {code: category.question for code, category in content_policy.categories.items()}
    return _asked_twice(questions, ("categories",))
