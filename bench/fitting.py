"""Compares the weight fit with a plain implementation of the published procedure, on the same replies.

    OMP_NUM_THREADS=1 python -m bench.fitting [--authors FILE] [--repeats 5]

1. 5,933 replies to 349 prompts, spread over the response types as in the released data. The published procedure lists
   all pairs of replies in Python, and takes 1,000 full-batch steps of AdamW. Both run on one thread.
2. 100,000 replies with about 565,000 pairs, in a process of its own: time and peak memory of one fit.
3. How much longer a fit takes if it must respect the order of the classes and the signs, on both data sets, and how
   long a refit of the bootstrap takes.

With ``--authors``, the first comparison also runs the authors' own file, ``rbr_weight_fitter.py`` of their repository.
The last line is JSON.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rbr.classes.features import feature_map
from rbr.profile import Constraints
from rbr.reward.class_order import ClassOrder
from rbr.reward.comparison_pairs import comparison_pairs, complete_replies
from rbr.reward.fit import fit
from rbr.reward.fit_problems import FitProblem
from rbr.reward.fit_result import FitResult
from rbr.reward.signs import feature_signs
from rbr.rulebook import Behavior, load_behavior

Array = NDArray[np.float64]

BEHAVIOR = Path(__file__).parents[1] / "rulebook" / "behavior.yaml"
# Prompts per response type in the released training data.
RELEASED_PROMPTS = {"comply": 196, "hard_refusal": 88, "soft_refusal_intent": 9, "soft_refusal_method": 56}
# 17 replies to each prompt, 96 ordered pairs: the best, the middle and the worst label.
REPLIES_PER_LABEL = (6, 6, 5)
LABELS = ("best", "middle", "worst")
BIG_PROMPTS = 5_883
L2 = 1e-4  # So small that the objective is the hinge loss, as in the published procedure.
STEPS, LEARNING_RATE = 1_000, 1e-2
BOOTSTRAP = 20


def made_up_problem(behavior: Behavior, response_type: str, n_prompts: int, seed: int) -> FitProblem:
    """Returns replies of a response type: grades near their truth, features of the class rules, noisy scores."""
    rng = np.random.default_rng(seed)
    features = feature_map(behavior, response_type)
    signs = feature_signs(features, behavior.response_types[response_type].signs)
    sign_of = dict(zip(features.feature_names, signs, strict=True))
    usual = np.array([sign_of.get(f"proposition:{name}") == "desired" for name in features.propositions])
    labels = np.tile(np.repeat(np.arange(3), REPLIES_PER_LABEL), n_prompts)
    # The better the label, the fewer propositions differ from those of an ideal reply.
    truth = usual ^ (rng.random((labels.size, usual.size)) < np.array([0.02, 0.2, 0.3])[labels, None])
    if "disallowed_content" in features.propositions:
        truth[:, features.propositions.index("disallowed_content")] = labels == 2
    p_yes = np.abs(truth - np.clip(rng.beta(0.3, 6, truth.shape), 0, 1))
    r_rm = rng.normal(0, 1, labels.size) + 0.7 * labels  # The reward model likes bad replies.
    return FitProblem(
        response_type=response_type,
        feature_names=features.feature_names,
        prompt_ids=[f"{response_type}-{prompt}" for prompt in np.repeat(np.arange(n_prompts), sum(REPLIES_PER_LABEL))],
        labels=[LABELS[label] for label in labels],
        features=features.features(p_yes),
        r_rm=r_rm,
        ranking=[[label] for label in LABELS],
        margins={},
        order=ClassOrder(features.diagram, features.feature_propositions),
        signs=signs,
    )


def fit_ours(problem: FitProblem, constraints: Constraints = "none", bootstrap: int = 0) -> FitResult:
    """Fits one problem. 5 % of the prompts are held out, as in the published procedure."""
    return fit(problem, l2=L2, held_out_fraction=0.05, bootstrap=bootstrap, seed=0, constraints=constraints)


def fit_as_published(problem: FitProblem) -> Array:
    """Returns the weights of the published procedure: all pairs, 95 % of them for training, and steps of AdamW.

    As in the published procedure, each step also measures the loss of the other pairs.
    """
    import torch

    better_than = {"best": ("middle", "worst"), "middle": ("worst",), "worst": ()}
    prompts, labels = problem.prompt_ids, problem.labels
    pairs = []
    for first, second in combinations(range(len(labels)), 2):
        if prompts[first] != prompts[second]:
            continue
        if labels[second] in better_than[labels[first]]:
            pairs.append((first, second))
        elif labels[first] in better_than[labels[second]]:
            pairs.append((second, first))
    shuffled = torch.tensor(pairs)[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))]
    split = int(0.95 * len(pairs))
    better, worse = shuffled[:split].T
    other_better, other_worse = shuffled[split:].T
    features, r_rm = (torch.tensor(values, dtype=torch.float32) for values in (problem.features, problem.r_rm))
    weights = torch.zeros(features.shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW([weights], lr=LEARNING_RATE, weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        r_tot = r_rm + features @ weights
        loss = torch.relu(1 + r_tot[worse] - r_tot[better]).mean()
        loss.backward()
        optimizer.step()
        r_tot = r_rm + features @ weights
        other_loss = torch.relu(1 + r_tot[other_worse] - r_tot[other_better]).mean()
        losses.append((loss.item(), other_loss.item()))
    return weights.detach().numpy().astype(np.float64)


def fit_with_authors_file(problem: FitProblem, file: Path) -> None:
    """Runs the authors' own fitter on a problem."""
    spec = importlib.util.spec_from_file_location("authors_fitter", file)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules["authors_fitter"] = module
    spec.loader.exec_module(module)
    module.tqdm = lambda iterable: iterable
    columns = zip(problem.prompt_ids, problem.labels, problem.r_rm.tolist(), problem.features.tolist(), strict=True)
    examples = [
        module.RBR_ExampleWithMetadata(
            prompt, "", problem.response_type, label, score, dict(zip(problem.feature_names, row, strict=True))
        )
        for prompt, label, score, row in columns
    ]
    orderings = {"best": ["middle", "worst"], "middle": ["worst"], "worst": []}
    module.RBRWeightFitter(list(problem.feature_names), examples, orderings).fit_weights()


def hinge_loss(problems: Sequence[FitProblem], weights: Sequence[Array]) -> float:
    """Returns the mean hinge loss with margin 1 over all pairs of all problems."""
    losses = []
    for problem, problem_weights in zip(problems, weights, strict=True):
        pairs = comparison_pairs(problem, complete_replies(problem))
        r_tot = problem.r_rm + problem.features @ problem_weights
        losses.append(np.maximum(0, 1 + r_tot[pairs.worse] - r_tot[pairs.better]))
    return float(np.concatenate(losses).mean())


def with_margin_of_one(problem: FitProblem) -> FitProblem:
    """Returns the problem with margins of 1 in units of R_rm, as in the published procedure."""
    spread = fit_ours(problem).spread
    return replace(problem, margins=dict.fromkeys(LABELS, 1 / spread))


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Returns the median wall time of a function."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return median(times)


def compare_with_published(behavior: Behavior, repeats: int, authors: Path | None) -> dict[str, float]:
    """Times the fit of all response types of the released size."""
    problems = [
        with_margin_of_one(made_up_problem(behavior, name, count, seed))
        for seed, (name, count) in enumerate(RELEASED_PROMPTS.items())
    ]
    n_replies = sum(len(problem.labels) for problem in problems)
    ours = seconds(lambda: [fit_ours(problem) for problem in problems], repeats)
    constrained = seconds(lambda: [fit_ours(problem, "order_and_signs") for problem in problems], repeats)
    bootstrapped = seconds(lambda: [fit_ours(problem, "order_and_signs", BOOTSTRAP) for problem in problems], 1)
    started = time.perf_counter()
    published_weights = [fit_as_published(problem) for problem in problems]
    published = time.perf_counter() - started
    refit = (bootstrapped - constrained) / BOOTSTRAP / constrained
    print(f"{n_replies} replies: ours {1e3 * ours:.1f} ms, published {published:.2f} s, ratio {published / ours:.0f}")
    print(f"  with order and signs {1e3 * constrained:.1f} ms ({constrained / ours:.2f} x); a refit: {refit:.2f} of it")
    figures = {
        "ratio_5933": published / ours,
        "objective_ours": hinge_loss(problems, [fit_ours(problem).weights for problem in problems]),
        "objective_reference": hinge_loss(problems, published_weights),
        "constrained_factor": constrained / ours,
        "refit_share": refit,
    }
    if authors is not None:
        theirs = seconds(lambda: [fit_with_authors_file(problem, authors) for problem in problems], 1)
        print(f"  the authors' own file {theirs:.2f} s, ratio {theirs / ours:.0f}")
        figures["ratio_authors_file"] = theirs / ours
    return figures


def time_big_fit(behavior: Behavior) -> dict[str, float]:
    """Times one fit of 100,000 replies in this process."""
    problem = made_up_problem(behavior, "hard_refusal", BIG_PROMPTS, seed=0)
    started = time.perf_counter()
    result = fit_ours(problem)
    taken = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    constrained = fit_ours(problem, "order_and_signs")
    with_constraints = time.perf_counter() - started
    print(f"{len(problem.labels)} replies, {result.n_pairs} pairs: {taken:.2f} s, {peak:.0f} MB, gap {result.gap:.0e}")
    print(
        f"  with order and signs {with_constraints:.2f} s, gap {constrained.gap:.0e}, lead {constrained.order_lead:.4f}"
    )
    return {"seconds_100k": taken, "rss_mb_100k": peak, "constrained_factor_100k": with_constraints / taken}


def main() -> None:
    """Runs all comparisons and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="times that the small fit runs (default: %(default)s)")
    parser.add_argument("--authors", type=Path, help="path of the authors' rbr_weight_fitter.py")
    parser.add_argument("--big-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    behavior = load_behavior(BEHAVIOR)
    if arguments.big_only:
        print(json.dumps(time_big_fit(behavior)))
        return
    # A process of its own: its peak memory is that of the big fit, and it does not import torch.
    command = [sys.executable, "-m", "bench.fitting", "--big-only"]
    *lines, big = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    figures = compare_with_published(behavior, arguments.repeats, arguments.authors) | json.loads(big)
    print("\n".join(lines))
    print(json.dumps({name: round(value, 6) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
