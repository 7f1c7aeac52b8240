"""What a proposition does to the class of a reply, compared with an enumeration of all replies."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.rulebook import ClassDiagram, compile_classes, compile_rules, load_behavior
from rbr.rulebook.class_effects import (
    PropositionEffect,
    membership_propositions,
    proposition_effects,
    unsafe_propositions,
)
from rbr.rulebook.parts import Behavior, Sign
from tests.rbr.rulebook.random_rules import all_truths, diagrams, with_and_without

DEFAULT = Path(__file__).parents[3] / "rulebook" / "behavior.yaml"


def by_enumeration(diagram: ClassDiagram) -> dict[str, PropositionEffect]:
    """Returns the effects by looking at all pairs of replies that differ in one proposition."""
    places = diagram.classify(all_truths(len(diagram.propositions)))
    effects = {}
    for column, name in enumerate(diagram.propositions):
        without, with_it = with_and_without(places, column)
        effects[name] = PropositionEffect(
            improves=bool((with_it < without).any()), worsens=bool((with_it > without).any())
        )
    return effects


@settings(max_examples=150, deadline=None)
@given(diagrams())
def test_the_effects_of_random_rules_are_those_of_all_replies(diagram: ClassDiagram) -> None:
    assert proposition_effects(diagram) == by_enumeration(diagram)


@pytest.mark.parametrize("response_type", ["hard_refusal", "soft_refusal_intent", "soft_refusal_method", "comply"])
def test_the_effects_of_the_default_rulebook_are_those_of_all_replies(response_type: str) -> None:
    diagram = compile_classes(load_behavior(DEFAULT), response_type)
    assert proposition_effects(diagram) == by_enumeration(diagram)


# Rules of three classes, and the sign of each proposition by hand.
SIGNS: dict[str, tuple[dict[str, str], dict[str, Sign]]] = {
    "only better": ({"good": "a", "bad": "not a"}, {"a": "desired"}),
    "only worse": ({"good": "not a", "bad": "a"}, {"a": "undesired"}),
    "better or worse, depending on another": (
        {"good": "a and b or not a and not b", "bad": "a and not b or not a and b"},
        {"a": "free", "b": "free"},
    ),
    "better for some replies and without effect on others": (
        {"good": "a or b", "bad": "not a and not b"},
        {"a": "desired", "b": "desired"},
    ),
    "named, but without effect": ({"good": "a and (b or not b)", "bad": "not a"}, {"a": "desired", "b": "free"}),
    "from bad to fair, and from good to fair": (
        {"good": "b and not a", "fair": "a", "bad": "not a and not b"},
        {"a": "free", "b": "desired"},
    ),
    "a class that no reply falls into": (
        {"good": "a", "fair": "a and not a", "bad": "not a"},
        {"a": "desired"},
    ),
}


@pytest.mark.parametrize("name", SIGNS)
def test_the_sign_of_a_proposition_follows_from_its_effects(name: str) -> None:
    rules, signs = SIGNS[name]
    effects = proposition_effects(compile_rules(rules, list(rules)))
    assert {proposition: effect.sign for proposition, effect in effects.items()} == signs


def test_the_opposite_order_of_the_classes_turns_every_sign_around() -> None:
    rules = {"good": "a and not b", "fair": "a and b", "bad": "not a"}
    forward, backward = (proposition_effects(compile_rules(rules, order)) for order in (list(rules), list(rules)[::-1]))
    assert {name: effect.sign for name, effect in forward.items()} == {"a": "desired", "b": "undesired"}
    assert {name: effect.sign for name, effect in backward.items()} == {"a": "undesired", "b": "desired"}


# Which propositions decide whether a reply falls into some classes


def by_flipping(diagram: ClassDiagram, classes: set[str]) -> set[str]:
    """Returns the propositions whose truth moves some reply into the classes or out of them."""
    places = diagram.classify(all_truths(len(diagram.propositions)))
    is_member = np.isin(places, [index for index, name in enumerate(diagram.classes) if name in classes])
    flips = (with_and_without(is_member, column) for column in range(len(diagram.propositions)))
    changes = [(without != with_it).any() for without, with_it in flips]
    return {name for name, is_changed in zip(diagram.propositions, changes, strict=True) if is_changed}


@settings(max_examples=150, deadline=None)
@given(diagrams(), st.sets(st.integers(0, 4)))
def test_a_proposition_decides_if_flipping_it_moves_some_reply_in_or_out(
    diagram: ClassDiagram, chosen: set[int]
) -> None:
    classes = {name for index, name in enumerate(diagram.classes) if index in chosen}
    assert membership_propositions(diagram, classes) == by_flipping(diagram, classes)


def test_all_classes_and_no_class_are_decided_by_nothing() -> None:
    diagram = compile_rules({"good": "a", "bad": "not a"}, ["good", "bad"])
    assert membership_propositions(diagram, ["good", "bad"]) == membership_propositions(diagram, []) == frozenset()


BEHAVIOR = load_behavior(DEFAULT)


def edited(**rules: str) -> Behavior:
    """Changes class rules of the response type comply."""
    types = BEHAVIOR.response_types
    comply = types["comply"].model_copy(update={"classes": {**types["comply"].classes, **rules}})
    return BEHAVIOR.model_copy(update={"response_types": {**types, "comply": comply}})


@pytest.mark.parametrize(
    ("disallowed", "unsafe"),
    [
        ("disallowed_content", ("disallowed_content",)),
        # A mention that changes nothing does not decide.
        ("disallowed_content and (judgement or not judgement)", ("disallowed_content",)),
        ("disallowed_content and fully_complies", ("disallowed_content", "fully_complies")),
    ],
)
def test_the_propositions_behind_the_unsafe_classes_follow_from_the_rules(
    disallowed: str, unsafe: tuple[str, ...]
) -> None:
    logical = f"not ({disallowed}) and not illogical_continuation_of_prompt"
    rules = {
        "disallowed": disallowed,
        "illogical": f"not ({disallowed}) and illogical_continuation_of_prompt",
        "unacceptable": f"{logical} and no_compliance",
        "minimum_acceptable_style": f"{logical} and not no_compliance and meta_commentary",
        "ideal": f"{logical} and not no_compliance and not meta_commentary",
    }
    assert unsafe_propositions(edited(**rules)) == unsafe


def test_only_the_response_types_of_the_metric_count() -> None:
    unsafe = BEHAVIOR.metrics.unsafe.model_copy(update={"response_types": ("comply",), "classes": ("unacceptable",)})
    behavior = BEHAVIOR.model_copy(update={"metrics": BEHAVIOR.metrics.model_copy(update={"unsafe": unsafe})})
    assert unsafe_propositions(behavior) == (
        "disallowed_content",
        "illogical_continuation_of_prompt",
        "partially_complies",
        "requests_information",
    )
