"""Measures the speed of class probabilities, and of the check that classes neither overlap nor leave a gap.

    python bench/class_probabilities.py [--replies 1000000] [--rulebook rulebook]

The first part computes the exact class probabilities of random replies for each response type of a rulebook. It
compares the vectorized computation with a loop in plain Python. The loop runs on a sample, and its time is scaled up.
The second part measures how fast a gap between classes is reported, in a response type with 25 propositions. Times are
wall-clock times; set OMP_NUM_THREADS=1 to measure one thread.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from rbr.errors import InputError
from rbr.rulebook import BEHAVIOR_FILE, ClassDiagram, compile_classes, compile_rules, load_behavior

SAMPLE = 2_000
"""Number of replies for which the loop in plain Python runs."""
PROPOSITIONS = 25
"""Number of propositions of the response type with a gap."""


def class_probabilities_of(diagram: ClassDiagram, p_yes: list[float]) -> list[float]:
    """Computes the class probabilities of one reply with a loop over the nodes of the diagram.

    Args:
        diagram: Decision diagram of the classes.
        p_yes: P(yes) of each proposition of the diagram.
    """
    mass = [0.0] * (len(diagram.tests) + len(diagram.classes))
    mass[diagram.root] = 1.0
    for node, (column, if_false, if_true) in enumerate(diagram.tests):
        mass_if_true = mass[node] * p_yes[column]
        mass[if_true] += mass_if_true
        mass[if_false] += mass[node] - mass_if_true
    return mass[len(diagram.tests) :]


def time_probabilities(diagram: ClassDiagram, replies: int) -> tuple[float, float]:
    """Returns the seconds for all replies, vectorized and reply by reply. Checks that both results are equal."""
    p_yes = np.random.default_rng(0).random((replies, len(diagram.propositions)))
    started = time.perf_counter()
    probabilities = diagram.class_probabilities(p_yes)
    vectorized = time.perf_counter() - started
    started = time.perf_counter()
    expected = [class_probabilities_of(diagram, row) for row in p_yes[:SAMPLE].tolist()]
    reply_by_reply = (time.perf_counter() - started) / len(expected) * replies
    assert np.allclose(probabilities[:SAMPLE], expected, atol=1e-12)
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-9
    return vectorized, reply_by_reply


def time_gap_report() -> float:
    """Returns the seconds until the gap between the classes of a response type is reported."""
    names = [f"p{index}" for index in range(PROPOSITIONS)]
    acceptable = " and ".join([names[0], *(f"not {name}" for name in names[1:-2])])
    # An acceptable reply for which the last proposition is true falls into no class.
    rules = {
        "good": f"{acceptable} and not {names[-2]} and not {names[-1]}",
        "fair": f"{acceptable} and {names[-2]} and not {names[-1]}",
        "bad": f"not ({acceptable})",
    }
    started = time.perf_counter()
    try:
        compile_rules(rules, list(rules))
    except InputError as error:
        assert "leave a gap" in error.what
        return time.perf_counter() - started
    raise AssertionError("the gap was not reported")


def main() -> None:
    """Measures both parts and prints the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--replies", type=int, default=1_000_000, help="number of random replies (default: %(default)s)"
    )
    parser.add_argument(
        "--rulebook", type=Path, default=Path("rulebook"), help="rulebook directory (default: %(default)s)"
    )
    arguments = parser.parse_args()
    behavior = load_behavior(arguments.rulebook / BEHAVIOR_FILE)
    total = 0.0
    for response_type in behavior.response_types:
        diagram = compile_classes(behavior, response_type)
        vectorized, reply_by_reply = time_probabilities(diagram, arguments.replies)
        total += vectorized
        size = f"{len(diagram.propositions)} propositions, {len(diagram.tests)} nodes"
        speedup = f"{reply_by_reply / vectorized:5.0f} times as fast as reply by reply"
        print(f"{response_type:22} {size:28} {vectorized:6.2f} s   {speedup}")
    print(f"{arguments.replies:,} replies x {len(behavior.response_types)} response types: {total:.2f} s")
    print(f"a gap among {PROPOSITIONS} propositions: reported in {time_gap_report():.4f} s")


if __name__ == "__main__":
    main()
