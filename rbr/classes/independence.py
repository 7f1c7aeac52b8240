"""What class probabilities owe to the assumption that the propositions of a reply are independent (paper section 3.3).

A class probability is a multilinear function f of the probabilities p of the propositions. If x are the truth values
of a reply, and r = x - p, then the class of the reply is exactly

    f(x) = f(p) + sum_i r_i f_i(p) + sum_{i<j} r_i r_j f_ij(p) + terms of three and more propositions

f_i and f_ij are the `effects` of one proposition and of a pair of propositions. If each p_i is right, the first sum is
0 on average. If, in addition, the propositions are independent given the reply, every other sum is 0 on average, too.
A sum that is not 0 on average therefore shows which propositions make the class probability wrong, and by how much.

The truth values have to be known for this. Grades alone only give bounds (`class_probability_bounds`).
"""

import numpy as np
from numpy.typing import NDArray

from rbr.rulebook import ClassDiagram

FloatArray = NDArray[np.float64]


def effect(diagram: ClassDiagram, p: FloatArray, *columns: int) -> FloatArray:
    """Returns how the class probabilities react to the truth of one proposition, or of several together.

    For one proposition, the effect is P(class) if the proposition is true, minus P(class) if it is false. For a pair,
    it is the effect of the first proposition if the second is true, minus the effect of the first if the second is
    false; and so on. The effect does not depend on the probabilities of these propositions.

    Args:
        diagram: The compiled class rules.
        p: Probabilities in [0, 1], float64[N, propositions].
        columns: Columns of different propositions.

    Returns:
        float64[N, classes]. Each row sums to 0 if there is at least one column.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "a and b", "bad": "not (a and b)"}, ["good", "bad"])
        >>> p = np.array([[0.75, 0.25]])
        >>> effect(diagram, p, 0)
        array([[ 0.25, -0.25]])
        >>> effect(diagram, p, 0, 1)
        array([[ 1., -1.]])
    """
    if not columns:
        return diagram.class_probabilities(p)
    first, *others = columns
    true, false = p.copy(), p.copy()
    true[:, first], false[:, first] = 1.0, 0.0
    return effect(diagram, true, *others) - effect(diagram, false, *others)


def class_probability_bounds(diagram: ClassDiagram, p: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bounds the probability of each class, whatever the dependence between the propositions.

    The bounds need no truth values. If the lower bound of a class is above 0.5, this is the most probable class of the
    reply under any dependence. The bounds are valid, but not always the narrowest ones.

    Args:
        diagram: The compiled class rules.
        p: Probability in [0, 1] that each proposition is true, float64[N, propositions]; NaN if it is missing.

    Returns:
        Lower and upper bounds, float64[N, classes] each; NaN in a row with a missing probability.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "a and b", "bad": "not (a and b)"}, ["good", "bad"])
        >>> low, high = class_probability_bounds(diagram, np.array([[0.75, 0.75]]))
        >>> low, high
        (array([[0.5 , 0.25]]), array([[0.75, 0.5 ]]))
    """
    # A path of the diagram lists truth values that lead to a class. The probability that at least one of them is wrong
    # is at most the sum of the probabilities that each is wrong. Find the path of each class with the smallest sum.
    # cost: [nodes + classes, N].
    n_tests = len(diagram.tests)
    cost = np.full((n_tests + len(diagram.classes), len(p)), np.inf)
    cost[diagram.root] = 0.0
    for node, (column, low, high) in enumerate(diagram.tests):
        cost[high] = np.minimum(cost[high], cost[node] + 1.0 - p[:, column])
        cost[low] = np.minimum(cost[low], cost[node] + p[:, column])
    lower = np.maximum(1.0 - cost[n_tests:].T, 0.0)
    # A class gets at most what the lower bounds of the other classes leave over.
    upper = np.minimum(1.0 - (lower.sum(axis=1, keepdims=True) - lower), 1.0)
    missing = np.isnan(p).any(axis=1)
    lower[missing] = upper[missing] = np.nan
    return lower, upper
