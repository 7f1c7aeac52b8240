"""The possible classes of a reply are those of all completions of its unknown truth values."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.rulebook import ClassDiagram
from rbr.rulebook.possible_classes import possible_classes
from tests.rbr.rulebook.random_rules import NAMES, diagrams


@settings(deadline=None)
@given(diagrams(), st.lists(st.sampled_from([True, False, None]), min_size=len(NAMES), max_size=len(NAMES)))
def test_the_possible_classes_are_those_of_every_completion(diagram: ClassDiagram, values: list[bool | None]) -> None:
    truth = dict(zip(NAMES, values, strict=True))
    known = [truth[name] for name in diagram.propositions]
    completions = itertools.product(*([value] if value is not None else [False, True] for value in known))
    expected = set(diagram.classify(np.array(list(completions), dtype=np.bool_)).tolist())
    (possible,) = possible_classes(
        diagram,
        np.array([[bool(value) for value in known]], dtype=np.bool_),
        np.array([[value is None for value in known]], dtype=np.bool_),
    )
    assert set(np.flatnonzero(possible).tolist()) == expected
