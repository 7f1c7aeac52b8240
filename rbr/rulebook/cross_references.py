"""Checks that the parts of a rulebook fit together: some part must define each name that another part uses."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from rbr.errors import InputError, KeyPath, Location, spelling_hint
from rbr.files.schema_errors import SourceDocument, sorted_by_line
from rbr.rulebook.class_diagram import compile_classes
from rbr.rulebook.dependencies import derived_in_order
from rbr.rulebook.expressions import names_in, parse_expression
from rbr.rulebook.parts import Behavior, ContentPolicy, Propositions, Synthesis


@dataclass(frozen=True)
class Finding:
    """A problem at a key path of one part of a rulebook. It has no file and no line yet.

    Attributes:
        path: Key path of the entry that is wrong.
        what: What is wrong, in one sentence.
        hint: What the user can do about the problem.

    Example:
        >>> finding = Finding(("classes", 2), "'idael' is listed twice", "Keep one of the two.")
        >>> finding.path
        ('classes', 2)
    """

    path: KeyPath
    what: str
    hint: str


def located(findings: Iterable[Finding], document: SourceDocument) -> list[InputError]:
    """Turns findings into problems of a file, in the order of its lines."""
    return sorted_by_line(
        InputError(finding.what, where=document.location(finding.path), hint=finding.hint) for finding in findings
    )


def check_behavior(behavior: Behavior) -> Iterator[Finding]:
    """Checks the names within a behavior policy, and that its derived propositions form no circle.

    `check_partition` checks for overlaps and gaps.
    """
    try:
        derived_in_order({name: parse_expression(text) for name, text in behavior.derived.items()})
    except InputError as error:
        yield _finding(error)
    for response_type, rules in behavior.response_types.items():
        rules_path = ("response_types", response_type)
        for name in rules.classes:
            yield from _check_known(name, behavior.classes, "class", (*rules_path, "classes", name))
        for label in rules.margins:
            yield from _check_known(label, rules.labels, "label", (*rules_path, "margins", label), "not in the ranking")
        for name in rules.signs:
            path: KeyPath = (*rules_path, "signs", name)
            yield from _check_known(name, rules.features, "feature", path, f"not a feature of {response_type}")
    for name in behavior.error_rate.per_response_type:
        path = ("error_rate", "per_response_type", name)
        yield from _check_known(name, behavior.response_types, "response type", path)
    for metric in type(behavior.metrics).model_fields:
        share = getattr(behavior.metrics, metric)
        for index, name in enumerate(share.response_types):
            path = ("metrics", metric, "response_types", index)
            yield from _check_known(name, behavior.response_types, "response type", path)
        for index, name in enumerate(share.classes):
            yield from _check_known(name, behavior.classes, "class", ("metrics", metric, "classes", index))


def check_partition(behavior: Behavior) -> Iterator[Finding]:
    """Checks that the classes of each response type neither overlap nor leave a gap."""
    for response_type in behavior.response_types:
        try:
            compile_classes(behavior, response_type)
        except InputError as error:
            yield from map(_finding, error.problems)


def check_propositions(behavior: Behavior, propositions: Propositions) -> Iterator[Finding]:
    """Checks the names of propositions in a behavior policy."""
    for name in behavior.derived:
        if name in propositions:
            hint = "Rename the derived proposition."
            yield Finding(("derived", name), f"{name!r} is already a simple proposition", hint)
    known = {*propositions, *behavior.derived}
    for path, text in _expressions(behavior):
        for name in names_in(parse_expression(text)):
            yield from _check_known(name, known, "proposition", path)
    for response_type, rules in behavior.response_types.items():
        for index, name in enumerate(rules.features):
            feature_path = ("response_types", response_type, "features", index)
            yield from _check_simple(name, propositions, behavior.derived, feature_path, f"the feature {name!r}")
    for name in behavior.agreement.per_proposition:
        yield from _check_known(name, propositions.keys(), "proposition", ("agreement", "per_proposition", name))


def check_synthesis(synthesis: Synthesis, behavior: Behavior) -> Iterator[Finding]:
    """Checks the response types, labels and classes of the recipes."""
    for response_type, recipe in synthesis.items():
        if response_type not in behavior.response_types:
            yield from _check_known(response_type, behavior.response_types, "response type", (response_type,))
            continue
        labels, classes = behavior.response_types[response_type].labels, behavior.class_names(response_type)
        for index, slot in enumerate(recipe.slots):
            path = (response_type, "slots", index)
            yield from _check_known(
                slot.label, labels, "label", (*path, "label"), "not in the ranking of behavior.yaml"
            )
            for position, name in enumerate(slot.may_be):
                yield from _check_known(
                    name, classes, "class", (*path, "may_be", position), f"not a class of {response_type}"
                )


def check_requests(synthesis: Synthesis, propositions: Propositions, derived: Collection[str]) -> Iterator[Finding]:
    """Checks the propositions that the slots of the recipes ask for.

    Args:
        synthesis: The recipes.
        propositions: The simple propositions.
        derived: Names of the derived propositions.
    """
    for response_type, recipe in synthesis.items():
        for index, slot in enumerate(recipe.slots):
            for position, name in enumerate(slot.asks_for):
                path = (response_type, "slots", index, "asks_for", position)
                yield from _check_simple(name, propositions, derived, path, f"{name!r} in `asks_for`")


def check_recipes(behavior: Behavior, synthesis: Synthesis) -> Iterator[Finding]:
    """Checks that every response type has a recipe, and that the recipe has a slot for every ranked label."""
    for response_type, rules in behavior.response_types.items():
        path = ("response_types", response_type)
        if response_type not in synthesis:
            hint = f"Add a recipe `{response_type}:` to synthesis.yaml."
            yield Finding(path, f"the response type {response_type!r} has no recipe", hint)
            continue
        labels = {slot.label for slot in synthesis[response_type].slots}
        for rank, rank_labels in enumerate(rules.ranking):
            for index, label in enumerate(rank_labels):
                if label not in labels:
                    what = f"no slot of {response_type} in synthesis.yaml has the label {label!r}"
                    yield Finding((*path, "ranking", rank, index), what, spelling_hint(label, labels))


def check_content_policy(content_policy: ContentPolicy, behavior: Behavior) -> Iterator[Finding]:
    """Checks the response types of the categories."""
    for code, category in content_policy.categories.items():
        path = ("categories", code, "response_type")
        yield from _check_known(category.response_type, behavior.response_types, "response type", path)


def _expressions(behavior: Behavior) -> Iterator[tuple[KeyPath, str]]:
    for name, text in behavior.derived.items():
        yield ("derived", name), text
    for response_type, rules in behavior.response_types.items():
        for name, text in rules.classes.items():
            yield ("response_types", response_type, "classes", name), text


def _check_simple(
    name: str, propositions: Propositions, derived: Collection[str], path: KeyPath, subject: str
) -> Iterator[Finding]:
    if name in derived and name not in propositions:
        what = f"{subject} is a derived proposition; only simple propositions can be listed here"
        yield Finding(path, what, f"List the simple propositions that {name!r} depends on.")
    else:
        yield from _check_known(name, propositions.keys(), "proposition", path)


def _check_known(
    name: str, known: Collection[str], noun: str, path: KeyPath, explanation: str = ""
) -> Iterator[Finding]:
    if name not in known:
        what = f"unknown {noun} {name!r}"
        yield Finding(path, f"{what}: {explanation}" if explanation else what, spelling_hint(name, known))


def _finding(error: InputError) -> Finding:
    path = error.where.key_path if isinstance(error.where, Location) else ()
    return Finding(path, error.what, error.hint)
