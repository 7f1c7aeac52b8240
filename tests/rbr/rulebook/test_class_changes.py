"""Class changes depend on the meaning of the rules, over all possible replies, and not on their text."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.rulebook import Behavior, compile_classes
from rbr.rulebook.class_changes import ClassChange, class_changes

METRICS = ("unsafe", "over_refusal", "illogical", "hard_refusal_style", "soft_refusal_style")
ATOMS = ("a", "b", "c", "d")


def behavior(good: str, **derived: str) -> Behavior:
    return Behavior.model_validate(
        {
            "derived": derived,
            "classes": ["good", "bad"],
            "response_types": {
                "comply": {"classes": {"good": good, "bad": f"not ({good})"}, "features": [], "ranking": [["x"]]}
            },
            "agreement": {"bar": 0.5},
            "metrics": {name: {"response_types": ["comply"], "classes": ["bad"]} for name in METRICS},
        }
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a and b", "b and a"),
        ("not (a or b)", "not a and not b"),
        ("a and (b or not b)", "a"),
        ("a", "not not a"),
    ],
)
def test_equivalent_rules_change_no_class(old: str, new: str) -> None:
    assert class_changes(behavior(old), behavior(new), "comply") == []


def test_a_new_condition_changes_the_class_of_replies_that_violate_it() -> None:
    changes = class_changes(behavior("a"), behavior("a and not b"), "comply")
    assert changes == [ClassChange("good", "bad", "a reply with a and b")]


def test_the_meaning_of_a_derived_proposition_counts_not_its_name() -> None:
    old, new = behavior("nice", nice="a and b"), behavior("kind", kind="b and a")
    assert class_changes(old, new, "comply") == []
    assert len(class_changes(old, behavior("kind", kind="b or a"), "comply")) == 1


expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: "({}) {} ({})".format(*parts)),
    ),
    max_leaves=6,
)


def class_of(policy: Behavior, truth: dict[str, bool]) -> str:
    diagram = compile_classes(policy, "comply")
    import numpy as np

    row = np.array([[truth[name] for name in diagram.propositions]], dtype=bool).reshape(1, -1)
    return diagram.classes[int(diagram.classify(row)[0])]


@settings(max_examples=60, deadline=None)
@given(expressions, expressions)
def test_changes_are_those_of_an_enumeration_and_every_described_reply_changes(one: str, other: str) -> None:
    old, new = behavior(one), behavior(other)
    changes = class_changes(old, new, "comply")
    found = set()
    for values in itertools.product([False, True], repeat=len(ATOMS)):
        truth = dict(zip(ATOMS, values, strict=True))
        pair = class_of(old, truth), class_of(new, truth)
        found.add(pair)
        for change in changes:
            having, _, lacking = change.example.removeprefix("a reply").partition("without ")
            described = dict.fromkeys(re.findall(r"\b[abcd]\b", having), True)
            described |= dict.fromkeys(re.findall(r"\b[abcd]\b", lacking), False)
            if all(truth[name] == value for name, value in described.items()):
                assert pair == (change.old, change.new)
    assert {(change.old, change.new) for change in changes} == {pair for pair in found if pair[0] != pair[1]}
