"""`rbr fit`: reads tables of grades and scores, and fits the weights of each response type in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rbr.errors import InputError
from rbr.files.fit_tables import FitTables, load_fit_tables, load_thresholds
from rbr.profile import FitSettings
from rbr.reward.fit import fit
from rbr.reward.fit_problems import fit_problems
from rbr.reward.fit_result import FitResult
from rbr.rulebook import Behavior, load_rulebook, propositions_needed

WEIGHTS_FILE = "weights.csv"
CERTIFICATES_FILE = "certificates.csv"

NO_SCORE = "no score"


@dataclass(frozen=True)
class FittedTables:
    """The fits of the response types of two tables.

    Attributes:
        results: One fit per response type with replies, in the order of the behavior policy.
        behavior: The behavior policy.
        n_replies: Number of replies by response type.
        missing_values: By response type, how many replies lack what: ``no score``, or the name of an unread
            proposition. The fit leaves these replies out. A reply may lack several values.
        n_other_replies: Number of graded replies without a row in the table of scores.
    """

    results: Sequence[FitResult]
    behavior: Behavior
    n_replies: Mapping[str, int]
    missing_values: Mapping[str, Mapping[str, int]]
    n_other_replies: int

    @property
    def without_replies(self) -> tuple[str, ...]:
        """The response types of the rulebook that have no replies, so that no weights were fitted."""
        return tuple(name for name in self.behavior.response_types if name not in self.n_replies)


def fit_from_tables(
    grades: Path, scores: Path, rulebook: Path, thresholds: Path | None, settings: FitSettings
) -> FittedTables:
    """Fits the weights of each response type that has replies in the tables.

    Args:
        grades: Table of grades; see `load_fit_tables`.
        scores: Table of scores.
        rulebook: Directory of the rulebook.
        thresholds: Table of decision thresholds; None for 0.5 everywhere.
        settings: Section `fit` of a profile.

    Raises:
        InputError: The rulebook or a table cannot be used, or a response type has no pairs to fit. All problems of the
            tables are reported together.
    """
    rules = load_rulebook(rulebook)
    behavior, propositions = rules.behavior, tuple(rules.propositions)
    needed = {name: propositions_needed(behavior, name) for name in behavior.response_types}
    labels = {name: entry.labels for name, entry in behavior.response_types.items()}
    problems: list[InputError] = []
    by_proposition: dict[str, float] = {}
    if thresholds is not None:
        try:
            by_proposition = load_thresholds(thresholds, propositions)
        except InputError as error:
            problems.append(error)
    try:
        tables = load_fit_tables(grades, scores, propositions=propositions, needed=needed, labels=labels)
    except InputError as error:
        problems.append(error)
    if problems:
        raise InputError.collect(problems)
    return FittedTables(
        results=_fits(tables, behavior, propositions, by_proposition, settings, scores),
        behavior=behavior,
        n_replies=dict(tables.verified.group_by("response_type").len().iter_rows()),
        missing_values=_missing_values(tables, needed),
        n_other_replies=tables.n_other_replies,
    )


def save(fitted: FittedTables, directory: Path) -> list[Path]:
    """Writes the weights and the certificates as CSV files, and returns the paths of the files.

    Args:
        fitted: The fits.
        directory: Directory to create, or an empty directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = pl.DataFrame([row for result in fitted.results for row in result.weight_rows()])
    certificates = pl.DataFrame([result.certificate_row() for result in fitted.results])
    weights.write_csv(directory / WEIGHTS_FILE)
    certificates.write_csv(directory / CERTIFICATES_FILE)
    return [directory / WEIGHTS_FILE, directory / CERTIFICATES_FILE]


def _fits(
    tables: FitTables,
    behavior: Behavior,
    propositions: Sequence[str],
    thresholds: Mapping[str, float],
    settings: FitSettings,
    scores: Path,
) -> list[FitResult]:
    fits = fit_problems(
        tables.verified, tables.grades, tables.scores, behavior, accepted=propositions, thresholds=thresholds
    )
    results, problems = [], []
    for problem in fits:
        try:
            results.append(fit(problem, **settings.model_dump()))
        except InputError as error:
            # The hints of `fit` name settings of the pipeline.
            hint = "Add replies, grades or scores, or lower --held-out-fraction."
            problems.append(InputError(f"{error.where}: {error.what}", where=str(scores), hint=hint))
    if problems:
        raise InputError.collect(problems)
    return results


def _missing_values(tables: FitTables, needed: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    response_types = tables.verified.select("completion_id", "response_type")
    needed_rows = pl.DataFrame(
        [(response_type, name) for response_type, names in needed.items() for name in names],
        schema={"response_type": pl.String, "proposition": pl.String},
        orient="row",
    )
    unread = (
        tables.grades.filter(pl.col("p_yes").is_null())
        .join(response_types, on="completion_id")
        .join(needed_rows, on=["response_type", "proposition"], how="semi")
        .select("response_type", pl.col("proposition").alias("value"))
    )
    unscored = (
        tables.scores.filter(pl.col("score").is_null())
        .join(response_types, on="completion_id")
        .select("response_type", pl.lit(NO_SCORE).alias("value"))
    )
    counts = pl.concat([unscored, unread]).group_by("response_type", "value").len().sort("response_type", "value")
    missing: dict[str, dict[str, int]] = {}
    for response_type, value, count in counts.iter_rows():
        missing.setdefault(response_type, {})[value] = count
    return missing
