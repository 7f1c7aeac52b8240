"""Class probabilities of a million replies, and the proof that classes neither overlap nor leave a gap.

    python bench/class_probabilities.py [--replies 1000000] [--rulebook rulebook]

Exact class probabilities by decision diagram, for every response type of a rulebook, against the same diagram
walked reply by reply in plain Python (on a sample, scaled up); and the time in which a class that lost a condition is
reported, in a response type of 25 propositions. Times are wall clock on one thread if OMP_NUM_THREADS=1.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from rbr.errors import InputError
from rbr.rulebook import BEHAVIOR_FILE, ClassDiagram, compile_classes, compile_rules, load_behavior

SAMPLE = 2_000
PROPOSITIONS = 25


def walk(diagram: ClassDiagram, row: list[float]) -> list[float]:
    """Class probabilities of one reply, as a loop over the diagram's nodes."""
    mass = [0.0] * (len(diagram.tests) + len(diagram.classes))
    mass[diagram.root] = 1.0
    for node, (column, low, high) in enumerate(diagram.tests):
        true = mass[node] * row[column]
        mass[high] += true
        mass[low] += mass[node] - true
    return mass[len(diagram.tests) :]


def seconds_of_probabilities(diagram: ClassDiagram, replies: int) -> tuple[float, float]:
    """Seconds for all replies, vectorized and reply by reply."""
    p = np.random.default_rng(0).random((replies, len(diagram.propositions)))
    started = time.perf_counter()
    shares = diagram.class_probabilities(p)
    vectorized = time.perf_counter() - started
    started = time.perf_counter()
    walked = [walk(diagram, row) for row in p[:SAMPLE].tolist()]
    plain = (time.perf_counter() - started) / len(walked) * replies
    assert np.allclose(shares[:SAMPLE], walked, atol=1e-12)
    assert np.abs(shares.sum(axis=1) - 1).max() < 1e-9
    return vectorized, plain


def seconds_to_a_counterexample() -> float:
    """Seconds until a gap of a response type is reported."""
    names = [f"p{index}" for index in range(PROPOSITIONS)]
    fine = f"{names[0]} and {' and '.join(f'not {name}' for name in names[1:-2])}"
    good = f"{fine} and not {names[-2]} and not {names[-1]}"
    rules = {"good": good, "fair": f"{fine} and {names[-2]} and not {names[-1]}", "bad": f"not ({fine})"}
    started = time.perf_counter()
    try:
        compile_rules(rules, list(rules))
    except InputError as error:
        assert "leave a gap" in error.what
        return time.perf_counter() - started
    raise AssertionError("the gap was not found")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=1_000_000)
    parser.add_argument("--rulebook", type=Path, default=Path("rulebook"))
    arguments = parser.parse_args()
    behavior = load_behavior(arguments.rulebook / BEHAVIOR_FILE)
    total = 0.0
    for kind in behavior.response_types:
        diagram = compile_classes(behavior, kind)
        vectorized, plain = seconds_of_probabilities(diagram, arguments.replies)
        total += vectorized
        size = f"{len(diagram.propositions)} propositions, {len(diagram.tests)} nodes"
        print(f"{kind:22} {size:28} {vectorized:6.2f} s   {plain / vectorized:5.0f} times as fast as reply by reply")
    print(f"{arguments.replies:,} replies x {len(behavior.response_types)} response types: {total:.2f} s")
    print(f"a lost condition among {PROPOSITIONS} propositions: reported in {seconds_to_a_counterexample():.4f} s")


if __name__ == "__main__":
    main()
