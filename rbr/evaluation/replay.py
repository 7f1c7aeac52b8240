"""Other rules over grades that were read already: classes and comparisons, without a model.

A grade belongs to a question's wording. Where a rulebook asks something that was never asked of a reply, its class
stays open and the grade is counted as one to be made.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from rbr.classes.classification import counted_classes, likely_classes
from rbr.comparisons.synthesis import verify
from rbr.grading import Question, question_hash
from rbr.rulebook import Rulebook, propositions_needed

_PAIR = ("prompt_id", "better", "worse")


@dataclass(frozen=True)
class Archive:
    """What was sampled and read so far.

    Attributes:
        replies: Columns completion_id, prompt_id, category.
        candidates: Columns completion_id, prompt_id, slot, label, candidate: replies written for comparisons.
        grades: Columns completion_id, question (its hash), p_yes: answers of the grader in use.
        few_shot: Examples that are shown with a question.
        thresholds: Decision threshold by the hash of a question; 0.5 for others.
    """

    replies: pl.DataFrame
    candidates: pl.DataFrame
    grades: pl.DataFrame
    few_shot: int
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class Replayed:
    """The archive under one rulebook.

    Attributes:
        classes: The replies with response_type and class_name, which is null where a grade is missing; without
            those whose category the rulebook does not have.
        missing: Columns completion_id and proposition: the grades that would have to be made.
        pairs: Columns prompt_id, better and worse (completion ids): the comparisons that the fit would see.
    """

    classes: pl.DataFrame
    missing: pl.DataFrame
    pairs: pl.DataFrame


def replay(archive: Archive, rulebook: Rulebook) -> Replayed:
    """Applies a rulebook to the archive."""
    policy = {code: category.response_type for code, category in rulebook.content_policy.categories.items()}
    replies = archive.replies.filter(pl.col("category").is_in(list(policy))).with_columns(
        pl.col("category").replace_strict(policy, default=None, return_dtype=pl.String).alias("response_type")
    )
    hashes = {
        name: question_hash(Question(name, entry.question, entry.examples), archive.few_shot)
        for name, entry in rulebook.propositions.items()
    }
    asked = _asked(replies, rulebook).with_columns(pl.col("proposition").replace_strict(hashes).alias("question"))
    grades = asked.join(archive.grades, on=["completion_id", "question"], how="left", maintain_order="left")
    thresholds = {name: archive.thresholds[key] for name, key in hashes.items() if key in archive.thresholds}
    return Replayed(
        classes=counted_classes(replies, grades, rulebook.behavior, thresholds),
        missing=grades.filter(pl.col("p_yes").is_null()).select("completion_id", "proposition"),
        pairs=_pairs(archive, rulebook, replies, grades, thresholds),
    )


def moved(before: Replayed, after: Replayed) -> pl.DataFrame:
    """Replies that two rulebooks put into different classes, or that are answered in another way.

    Returns:
        Columns completion_id, prompt_id, response_type_before, class_before, response_type, class_name; those with
        a class under both rulebooks only, in the order of the archive.
    """
    old = before.classes.select(
        "completion_id",
        pl.col("response_type").alias("response_type_before"),
        pl.col("class_name").alias("class_before"),
    )
    both = after.classes.join(old, on="completion_id", how="inner", maintain_order="left")
    both = both.drop_nulls(["class_name", "class_before"])
    differs = (pl.col("class_name") != pl.col("class_before")) | (
        pl.col("response_type") != pl.col("response_type_before")
    )
    return both.filter(differs).select(
        "completion_id", "prompt_id", "response_type_before", "class_before", "response_type", "class_name"
    )


def compared(before: Replayed, after: Replayed) -> dict[str, int]:
    """What becomes of the comparisons.

    Returns:
        Number of those that are ``kept``, ``turned`` round, ``gone`` and ``new``.
    """
    old, new = (set(side.pairs.iter_rows()) for side in (before, after))
    turned = {(prompt, worse, better) for prompt, better, worse in old} & new
    return {
        "kept": len(old & new),
        "turned": len(turned),
        "gone": len(old - new) - len(turned),
        "new": len(new - old) - len(turned),
    }


def _asked(replies: pl.DataFrame, rulebook: Rulebook) -> pl.DataFrame:
    needed = {kind: propositions_needed(rulebook.behavior, kind) for kind in rulebook.behavior.response_types}
    questions = pl.DataFrame(
        [(kind, name) for kind, names in needed.items() for name in names],
        schema={"response_type": pl.String, "proposition": pl.String},
        orient="row",
    )
    return replies.join(questions, on="response_type", maintain_order="left_right").select(
        "completion_id", "proposition"
    )


def _pairs(
    archive: Archive, rulebook: Rulebook, replies: pl.DataFrame, grades: pl.DataFrame, thresholds: Mapping[str, float]
) -> pl.DataFrame:
    types = replies.select("completion_id", "response_type").unique("completion_id")
    candidates = archive.candidates.join(types, on="completion_id", how="inner", maintain_order="left")
    classed = likely_classes(candidates, grades, rulebook.behavior, thresholds)
    kept = verify(classed, rulebook.synthesis).drop("label").join(_ranks(rulebook), on=["response_type", "slot"])
    better = kept.select("prompt_id", pl.col("completion_id").alias("better"), "rank")
    worse = kept.select("prompt_id", pl.col("completion_id").alias("worse"), pl.col("rank").alias("lower"))
    pairs = better.join(worse, on="prompt_id").filter(pl.col("rank") < pl.col("lower"))
    return pairs.select(_PAIR).unique().sort(_PAIR)


def _ranks(rulebook: Rulebook) -> pl.DataFrame:
    """Columns response_type, slot and rank, 0 for the best."""
    rows = []
    for kind, recipe in rulebook.synthesis.items():
        ranking = rulebook.behavior.response_types[kind].ranking
        rank = {label: place for place, labels in enumerate(ranking) for label in labels}
        rows += [(kind, slot.name, rank[slot.label]) for slot in recipe.slots]
    return pl.DataFrame(rows, schema={"response_type": pl.String, "slot": pl.String, "rank": pl.Int32}, orient="row")
