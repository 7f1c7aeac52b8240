"""What the parts of a rulebook must agree on: every name that one part uses, another defines."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from rbr.errors import InputError
from rbr.files.yaml_file import Document, KeyPath
from rbr.rulebook.class_diagram import compile_classes
from rbr.rulebook.dependencies import derived_in_order
from rbr.rulebook.expressions import names, parse
from rbr.rulebook.fields import nearest
from rbr.rulebook.models import Behavior, ContentPolicy, Propositions, Synthesis


@dataclass(frozen=True)
class Finding:
    """Something wrong at a key path of one part."""

    path: KeyPath
    what: str
    hint: str


def located(findings: Iterable[Finding], document: Document) -> list[InputError]:
    """The findings as problems of a file, in the order of its lines."""
    placed = [(document.where(found.path), found) for found in findings]
    placed.sort(key=lambda pair: (pair[0].line or 0, pair[0].column or 0))
    return [InputError(found.what, where=place, hint=found.hint) for place, found in placed]


def check_behavior(behavior: Behavior) -> Iterator[Finding]:
    """Checks a behavior policy in itself, all but the classes being a partition."""
    try:
        derived_in_order({name: parse(text) for name, text in behavior.derived.items()})
    except InputError as error:
        yield Finding(tuple(error.where.split(".")), error.what, error.hint)
    for response_type, rules in behavior.response_types.items():
        rules_at = ("response_types", response_type)
        for name in rules.classes:
            yield from _known(name, behavior.classes, "class", (*rules_at, "classes", name))
        for label in rules.margins:
            yield from _known(label, rules.labels, "label of the ranking", (*rules_at, "margins", label))
    for metric in type(behavior.metrics).model_fields:
        share = getattr(behavior.metrics, metric)
        for index, name in enumerate(share.response_types):
            at = ("metrics", metric, "response_types", index)
            yield from _known(name, behavior.response_types, "response type", at)
        for index, name in enumerate(share.classes):
            yield from _known(name, behavior.classes, "class", ("metrics", metric, "classes", index))


def check_partition(behavior: Behavior) -> Iterator[Finding]:
    """Checks that the classes of each response type neither overlap nor leave a gap."""
    for response_type in behavior.response_types:
        try:
            compile_classes(behavior, response_type)
        except InputError as error:
            for problem in error.problems:
                yield Finding(tuple(problem.where.split(".")), problem.what, problem.hint)


def check_propositions(behavior: Behavior, propositions: Propositions) -> Iterator[Finding]:
    """Checks the names of propositions in a behavior policy."""
    for name in behavior.derived:
        if name in propositions:
            hint = "Rename the derived proposition."
            yield Finding(("derived", name), f"{name!r} is a simple proposition already", hint)
    known = {*propositions, *behavior.derived}
    for path, text in _expressions(behavior):
        for name in names(parse(text)):
            yield from _known(name, known, "proposition", path)
    for response_type, rules in behavior.response_types.items():
        for index, name in enumerate(rules.features):
            at = ("response_types", response_type, "features", index)
            if name in behavior.derived and name not in propositions:
                what = f"the feature {name!r} is a derived proposition, features are simple ones"
                yield Finding(at, what, "List the propositions that it is made of.")
            else:
                yield from _known(name, propositions.keys(), "proposition", at)
    for name in behavior.agreement.per_proposition:
        yield from _known(name, propositions.keys(), "proposition", ("agreement", "per_proposition", name))


def check_synthesis(synthesis: Synthesis, behavior: Behavior) -> Iterator[Finding]:
    """Checks the response types, labels and classes of the recipes."""
    for response_type, recipe in synthesis.items():
        if response_type not in behavior.response_types:
            yield from _known(response_type, behavior.response_types, "response type", (response_type,))
            continue
        rules = behavior.response_types[response_type]
        for index, slot in enumerate(recipe.slots):
            at = (response_type, "slots", index)
            yield from _known(slot.label, rules.labels, "label of the ranking in behavior.yaml", (*at, "label"))
            for rank, name in enumerate(slot.may_be):
                classes = behavior.class_names(response_type)
                yield from _known(name, classes, f"class of {response_type}", (*at, "may_be", rank))


def check_recipes(behavior: Behavior, synthesis: Synthesis) -> Iterator[Finding]:
    """Checks that every response type has a recipe and every ranked label a slot that makes it."""
    for response_type, rules in behavior.response_types.items():
        at = ("response_types", response_type)
        if response_type not in synthesis:
            hint = f"Add a recipe `{response_type}:` to synthesis.yaml."
            yield Finding(at, f"the response type {response_type!r} has no recipe", hint)
            continue
        made = {slot.label for slot in synthesis[response_type].slots}
        for rank, labels in enumerate(rules.ranking):
            for index, label in enumerate(labels):
                kind = f"label made by a slot of {response_type} in synthesis.yaml"
                yield from _known(label, made, kind, (*at, "ranking", rank, index))


def check_content_policy(content_policy: ContentPolicy, behavior: Behavior) -> Iterator[Finding]:
    """Checks the response types of the categories."""
    for code, category in content_policy.categories.items():
        at = ("categories", code, "response_type")
        yield from _known(category.response_type, behavior.response_types, "response type", at)


def _expressions(behavior: Behavior) -> Iterator[tuple[KeyPath, str]]:
    for name, text in behavior.derived.items():
        yield ("derived", name), text
    for response_type, rules in behavior.response_types.items():
        for name, text in rules.classes.items():
            yield ("response_types", response_type, "classes", name), text


def _known(name: str, known: Collection[str], kind: str, path: KeyPath) -> Iterator[Finding]:
    if name not in known:
        yield Finding(path, f"{name!r} is no known {kind}", nearest(name, known))
