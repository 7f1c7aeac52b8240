"""Measures whether the class probabilities match labels, and whether a fitted correction of them helps.

    python -m bench.class_correction [--state var] [--released data/rbr_gold_data/train.jsonl --rulebook published]

The correction replaces the class probabilities p_k by p_k ** a * exp(b_k), normalized (vector scaling). For comparison,
`single` corrects the probability of each proposition by a line in its log odds before the classes are computed. Both
are fitted by log loss with a small ridge. The prompts are divided into two halves by their hash; each half is corrected
with the fit of the other. Every change has a 95 % interval (paired bootstrap over prompts).

The parts: made-up propositions with a known dependence; the gold replies of the sandbox; with `--state`, the candidate
replies of a pipeline that has run, judged by the oracle; with `--released`, the labels that the paper's authors
released, graded by a made-up grader, because no grader for their questions ships. OMP_NUM_THREADS=1 is faster.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit

from bench.pipeline_runs import RULEBOOK, SANDBOX_PROFILE, open_store
from rbr.agreement.acceptance import measure_agreement
from rbr.agreement.class_calibration import TOO_HIGH, TOO_LOW, compare_classes
from rbr.agreement.judged_replies import JudgedReplies, judge_gold_replies
from rbr.classes.features import FeatureMap, feature_map
from rbr.errors import InputError
from rbr.files.data_files import load_gold_labels
from rbr.grading import Question, open_grader
from rbr.hashing import content_hash
from rbr.profile import load_profile
from rbr.rulebook import Rulebook, compile_rules, load_rulebook, propositions_needed
from rbr_sandbox.oracle import truths

Array = NDArray[np.float64]
Correct = Callable[[JudgedReplies, NDArray[np.bool_]], Array]
"""Returns corrected class probabilities of all replies, from a fit on the replies of the mask."""

SMALLEST = 1e-4
RIDGE = 0.01
RESAMPLES = 2000
SEEDS = 20


class Change(NamedTuple):
    """Log loss and accuracy of every reply, before and after a correction: float64[N, 2] each."""

    before: Array
    after: Array
    prompts: NDArray[np.intp]

    def __str__(self) -> str:
        numbers = np.unique(self.prompts, return_inverse=True)[1]
        sums, counts = np.zeros((numbers.max() + 1, 2)), np.bincount(numbers)
        np.add.at(sums, numbers, self.after - self.before)
        drawn = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
        means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None]
        low, high = np.percentile(means, [2.5, 97.5], axis=0)
        change = (self.after - self.before).mean(axis=0)
        return ", ".join(
            f"{name} {self.before[:, i].mean():.3f} -> {self.after[:, i].mean():.3f} "
            f"({change[i]:+.3f}, {low[i]:+.3f} to {high[i]:+.3f})"
            for i, name in enumerate(("log loss", "accuracy"))
        )


def measure_change(replies: Sequence[JudgedReplies], correct: Correct) -> Change:
    """Corrects each half of the replies with the fit of the other half."""
    before, after, prompts = [], [], []
    for judged in replies:
        half = np.array([int(content_hash(["half", prompt]), 16) % 2 == 0 for prompt in judged.prompts])
        plain = judged.features.diagram.class_probabilities(judged.p)
        corrected = np.where(half[:, None], correct(judged, ~half), correct(judged, half))
        before.append(_losses(plain, judged.class_index))
        after.append(_losses(corrected, judged.class_index))
        prompts += judged.prompts
    numbers = np.unique(np.array(prompts), return_inverse=True)[1]
    return Change(np.vstack(before), np.vstack(after), numbers)


def correct_classes(judged: JudgedReplies, fitted_on: NDArray[np.bool_]) -> Array:
    """Scales the log probabilities of the classes by one factor, and shifts each."""
    logs = np.log(np.clip(judged.features.diagram.class_probabilities(judged.p), SMALLEST, 1))
    x, y = logs[fitted_on], judged.class_index[fitted_on]

    def loss(weights: Array) -> float:
        scores = log_softmax(weights[0] * x + weights[1:], axis=1)
        ridge = (weights[0] - 1) ** 2 + (weights[1:] ** 2).sum()
        return float(-scores[np.arange(len(y)), y].mean() + RIDGE / 2 * ridge)

    weights = minimize(loss, np.r_[1.0, np.zeros(logs.shape[1])], method="L-BFGS-B").x
    return np.exp(log_softmax(weights[0] * logs + weights[1:], axis=1))


def correct_propositions(judged: JudgedReplies, fitted_on: NDArray[np.bool_]) -> Array:
    """Scales and shifts the log odds of each proposition."""
    odds = logit(np.clip(judged.p, SMALLEST, 1 - SMALLEST))
    for column in range(odds.shape[1]):
        x, y = odds[fitted_on, column], judged.x[fitted_on, column]

        def loss(weights: Array, x: Array = x, y: Array = y) -> float:
            scores = weights[0] * x + weights[1]
            ridge = (weights[0] - 1) ** 2 + weights[1] ** 2
            return float((np.logaddexp(0, scores) - y * scores).mean() + RIDGE / 2 * ridge)

        scale, shift = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B").x
        odds[:, column] = scale * odds[:, column] + shift
    return judged.features.diagram.class_probabilities(expit(odds))


def made_up_replies(dependence: str, n: int = 400, seed: int = 0) -> JudgedReplies:
    """Draws replies with right probabilities of three propositions that all have to be true in the class `good`.

    Args:
        dependence: ``together``: in four of five replies, one draw decides all three; ``apart``: they are true together
            as rarely as possible; ``none``.
        n: Number of replies.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    p = expit(rng.normal(0.3, 1.2, (n, 1)) + rng.normal(0, 0.3, (n, 3)))
    truth = rng.random((n, 3)) < p
    if dependence == "together":
        truth = np.where(rng.random((n, 1)) < 0.8, rng.random((n, 1)) < p, truth)
    elif dependence == "apart":
        start = np.stack([np.zeros(n), p[:, 0], p[:, 0] + p[:, 1]], axis=1)
        truth = (rng.random((n, 1)) - start) % 1 < p
    diagram = compile_rules({"good": "a and b and c", "bad": "not (a and b and c)"}, ["good", "bad"])
    return JudgedReplies(FeatureMap(diagram, (), {}), p, truth, np.ones_like(truth), [str(i) for i in range(n)])


def sandbox_gold_replies(rulebook: Rulebook) -> dict[str, JudgedReplies]:
    """Grades the gold replies of the sandbox, with the thresholds that the pipeline would use."""
    profile = load_profile(SANDBOX_PROFILE)
    grader = open_grader(profile.models.grader, profile.grader)
    rows = {str(row.line): row for row in load_gold_labels(profile.gold_labels)}
    questions = [Question(name, entry.question, entry.examples) for name, entry in rulebook.propositions.items()]
    conversations = [[*row.messages, {"role": "assistant", "content": row.reply}] for row in rows.values()]
    p_yes = grader.grade(conversations, questions).p_yes
    cells = [(line, question.name) for line in rows for question in questions]
    schema = ["completion_id", "proposition"]
    grades = pl.DataFrame(cells, schema=schema, orient="row").with_columns(p_yes=p_yes.ravel())
    behavior, policy = rulebook.behavior, rulebook.content_policy
    needed = {name: propositions_needed(behavior, name) for name in behavior.response_types}
    labels = [
        (line, name, row.labels[name])
        for line, row in rows.items()
        for name in needed[policy.response_type(row.category)]
    ]
    agreement = measure_agreement(
        pl.DataFrame(labels, schema=[*schema, "truth"], orient="row"),
        grades,
        {name for names in needed.values() for name in names},
    )
    thresholds = dict(agreement.select("proposition", "threshold").iter_rows())
    return judge_gold_replies({line: [row] for line, row in rows.items()}, grades, behavior, policy, thresholds)


def candidates(state: Path, rulebook: Rulebook) -> dict[str, JudgedReplies]:
    """Reads the graded candidate replies of a pipeline, and asks the oracle for their truths."""
    store = open_store(state)
    thresholds = dict(store.read("accepted_propositions").select("proposition", "threshold").iter_rows())
    prompts = dict(store.read("training_prompts").select("prompt_id", "messages").iter_rows())
    replies = store.read("synthetic_comparisons").unique("completion_id", keep="first", maintain_order=True)
    grades = store.read("proposition_grades").pivot("proposition", index="completion_id", values="p_yes")
    judged = {}
    for response_type in rulebook.behavior.response_types:
        features = feature_map(rulebook.behavior, response_type, accepted=(), thresholds=thresholds)
        group = replies.filter(pl.col("response_type") == response_type)
        p_yes = group.join(grades, on="completion_id", how="left", maintain_order="left").select(features.propositions)
        known = [truths(json.loads(prompts[prompt]), text) for prompt, text in group.select("prompt_id", "text").rows()]
        truth = np.array([[one[name] for name in features.propositions] for one in known])
        judged[response_type] = JudgedReplies(
            features, p_yes.to_numpy(), truth, np.ones_like(truth), group["prompt_id"].to_list()
        )
    return judged


def released_replies(path: Path, rulebook: Rulebook, strength: float, seed: int) -> dict[str, JudgedReplies]:
    """Grades released labels with a made-up grader: it sees each truth through noise, and knows how often it is true.

    Args:
        path: The released file.
        rulebook: The imported rulebook.
        strength: Distance of the evidence for true and for false, in units of the noise.
        seed: Seed of the noise.
    """
    rng = np.random.default_rng(seed)
    rows = {str(row.line): [row] for row in load_gold_labels(path)}
    no_grades = pl.DataFrame(schema={"completion_id": pl.String, "proposition": pl.String, "p_yes": pl.Float64})
    judged = judge_gold_replies(rows, no_grades, rulebook.behavior, rulebook.content_policy, {})
    graded = {}
    for name, replies in judged.items():
        n = len(replies.prompts)
        # A made-up grader says little about the nine rows of the smallest response type.
        if n >= 20:
            evidence = np.where(replies.truth, strength / 2, -strength / 2) + rng.normal(size=replies.truth.shape)
            share = np.clip(replies.truth.mean(axis=0), 0.5 / n, 1 - 0.5 / n)
            p_yes = expit(logit(share) + strength * evidence)
            graded[name] = JudgedReplies(replies.features, p_yes, replies.truth, replies.labeled, replies.prompts)
    return graded


def report(name: str, replies: dict[str, JudgedReplies]) -> Iterator[str]:
    """Yields the lines about one set of replies."""
    known = {key: _known(judged) for key, judged in replies.items()}
    for response_type, judged in known.items():
        best = judged.features.diagram.class_probabilities(judged.p).argmax(axis=1)
        yield f"{name}, {response_type}: n {len(best)}, class accuracy {(best == judged.class_index).mean():.3f}"
        for row in compare_classes(judged).iter_rows(named=True):
            marked = f", {row['verdict']}" if row["verdict"] in (TOO_LOW, TOO_HIGH) else ""
            parts = ", ".join(
                f"{key} {row[key]:+.3f} ({row[f'{key}_low']:+.3f} to {row[f'{key}_high']:+.3f})"
                for key in ("gap", "dependence")
            )
            shares = f"observed {row['observed']:.3f}, mean probability {row['mean_probability']:.3f}"
            yield f"    {row['class_name']}: {shares}, {parts}{marked}"
    for label, correct in (("classes", correct_classes), ("single", correct_propositions)):
        yield f"{name}, corrected ({label}): {measure_change(list(known.values()), correct)}"


def _known(judged: JudgedReplies) -> JudgedReplies:
    """Keeps the replies of known class whose grades could be read."""
    kept = judged.read & (judged.class_index >= 0)
    arrays = (values[kept] for values in (judged.p_yes, judged.truth, judged.labeled))
    return JudgedReplies(judged.features, *arrays, prompts=np.array(judged.prompts)[kept].tolist())


def _losses(probabilities: Array, classes: NDArray[np.intp]) -> Array:
    """Returns log loss and accuracy of each reply, float64[N, 2]."""
    clipped = np.clip(probabilities, SMALLEST, 1)
    shares = clipped / clipped.sum(axis=1, keepdims=True)
    return np.stack(
        [-np.log(shares[np.arange(len(classes)), classes]), probabilities.argmax(axis=1) == classes], axis=1
    )


def main() -> None:
    """Prints the figures of all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, help="state directory of a pipeline with the default rulebook")
    parser.add_argument("--released", type=Path, help="labels that the paper's authors released")
    parser.add_argument("--rulebook", type=Path, help="rulebook that `rbr import-openai` has written")
    options = parser.parse_args()
    rulebook = load_rulebook(RULEBOOK)
    for dependence in ("none", "together", "apart"):
        _print(report(f"made up, {dependence}", {"three propositions": made_up_replies(dependence)}))
    _print(report("gold replies", sandbox_gold_replies(rulebook)))
    if options.state:
        _print(report("candidates", candidates(options.state, rulebook)))
    if options.released:
        published = load_rulebook(options.rulebook)
        for strength in (2.0, 3.0, 4.0):
            for seed in range(SEEDS):
                replies = released_replies(options.released, published, strength, seed)
                change = measure_change(list(replies.values()), correct_classes)
                _print([f"released labels, strength {strength:.0f}, seed {seed}, corrected (classes): {change}"])


def _print(lines: Iterator[str] | Sequence[str]) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
