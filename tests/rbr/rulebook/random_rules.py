"""Random class rules for tests that compare a result with an enumeration of all replies."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rbr.rulebook import ClassDiagram, compile_rules

NAMES = tuple("abcdefgh")
"""The propositions that random rules use."""


def expressions(names: tuple[str, ...] = NAMES) -> st.SearchStrategy[str]:
    """Draws expressions over the names."""

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        negated = inner.map(lambda text: f"not ({text})")
        pairs = st.tuples(inner, st.sampled_from(["and", "or"]), inner)
        return negated | pairs.map(lambda pair: f"({pair[0]}) {pair[1]} ({pair[2]})")

    return st.recursive(st.sampled_from(names), grow, max_leaves=10)


@st.composite
def diagrams(draw: st.DrawFn, names: tuple[str, ...] = NAMES) -> ClassDiagram:
    """Draws the diagram of two to five classes: a reply falls into the first class whose condition is true of it.

    A condition that the conditions before it rule out makes a class that no reply falls into.
    """
    conditions = draw(st.lists(expressions(names), min_size=1, max_size=4))
    rules = {}
    for index, condition in enumerate(conditions):
        earlier = "".join(f" and not ({other})" for other in conditions[:index])
        rules[f"class_{index}"] = f"({condition}){earlier}"
    rules["rest"] = " and ".join(f"not ({condition})" for condition in conditions)
    return compile_rules(rules, draw(st.permutations(list(rules))))


def all_truths(n_propositions: int) -> NDArray[np.bool_]:
    """Returns all truth assignments, bool[2^n, n]; the first proposition changes slowest."""
    numbers = np.arange(2**n_propositions)[:, None]
    return (numbers >> np.arange(n_propositions)[::-1] & 1).astype(np.bool_)


def with_and_without(values: NDArray, column: int) -> tuple[NDArray, NDArray]:
    """Returns the values of all replies of which a proposition is false, and of the same replies if it is true.

    Args:
        values: One value per truth assignment, in the order of `all_truths`.
        column: Index of the proposition.
    """
    pairs = values.reshape(2**column, 2, -1)
    return pairs[:, 0], pairs[:, 1]
