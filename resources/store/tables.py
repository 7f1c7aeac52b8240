"""The one list of stored tables: columns, key and purpose.

``python -m resources.store.tables > docs/tables.md`` writes the page about them.
"""

from dataclasses import dataclass

import pandera.polars as pa
import polars as pl

from resources.store import schemas


@dataclass(frozen=True)
class Table:
    """One table of the store.

    Attributes:
        name: Its name in DuckDB.
        model: Columns with type, range and meaning.
        key: Columns that name a row; no two rows share them, and reading sorts by them.
        description: Who writes it and how, in one sentence.
    """

    name: str
    model: type[pa.DataFrameModel]
    key: tuple[str, ...]
    description: str

    @property
    def schema(self) -> pa.DataFrameSchema:
        """The model as a strict schema: exactly these columns, in this order, unique by key."""
        schema = self.model.to_schema()
        schema.strict = True
        schema.ordered = True
        schema.unique = list(self.key)
        return schema

    @property
    def dtypes(self) -> dict[str, type[pl.DataType]]:
        """Polars type by column, in order."""
        return {name: column.dtype.type for name, column in self.model.to_schema().columns.items()}

    def empty(self) -> pl.DataFrame:
        """A frame of this table's columns without rows."""
        return pl.DataFrame(schema=self.dtypes)


def _listed(*tables: Table) -> dict[str, Table]:
    return {table.name: table for table in tables}


TABLES: dict[str, Table] = _listed(
    Table(
        "snapshots",
        schemas.Snapshots,
        ("name",),
        "Parsed rulebook, profile and data files, as every later stage reads them.",
    ),
    Table(
        "labeled_prompts",
        schemas.LabeledPrompts,
        ("prompt_id",),
        "Prompts with category and response type; replaced by the asset of that name.",
    ),
    Table(
        "quarantined_prompts",
        schemas.QuarantinedPrompts,
        ("prompt_id",),
        "Prompts left out because no category is sure enough; replaced with `labeled_prompts`.",
    ),
    Table(
        "training_prompts",
        schemas.TrainingPrompts,
        ("prompt_id",),
        "Prompts for synthesis and training; replaced by the asset of that name.",
    ),
    Table(
        "test_prompts",
        schemas.TestPrompts,
        ("prompt_id",),
        "Prompts for the evaluation; replaced by the asset of that name.",
    ),
    Table(
        "completions",
        schemas.Completions,
        ("completion_id",),
        "Cells: every reply ever sampled, made once; only appended to.",
    ),
    Table(
        "grades",
        schemas.Grades,
        ("completion_id", "question", "grader"),
        "Cells: every grade ever read, made once; only appended to.",
    ),
    Table(
        "scores",
        schemas.Scores,
        ("completion_id", "reward_model"),
        "Cells: every reward model score ever computed, made once; only appended to.",
    ),
    Table(
        "synthetic_comparisons",
        schemas.SyntheticComparisons,
        ("prompt_id", "slot", "candidate"),
        "Candidate replies per prompt and slot; replaced by the asset of that name.",
    ),
    Table(
        "proposition_grades",
        schemas.PropositionGrades,
        ("completion_id", "proposition"),
        "Grades of the candidates; replaced by the asset of that name.",
    ),
    Table(
        "reward_model_scores",
        schemas.RewardModelScores,
        ("completion_id",),
        "R_rm of the candidates; replaced by the asset of that name.",
    ),
    Table(
        "grader_agreement",
        schemas.GraderAgreement,
        ("proposition",),
        "How well the grader agrees with gold labels; replaced by the asset of that name.",
    ),
    Table(
        "accepted_propositions",
        schemas.AcceptedPropositions,
        ("proposition",),
        "Which propositions may be used, and their thresholds; replaced by the asset of that name.",
    ),
    Table(
        "verified_comparisons",
        schemas.VerifiedComparisons,
        ("prompt_id", "slot"),
        "The candidate that fills each slot; replaced by the asset of that name.",
    ),
    Table(
        "ideal_completions",
        schemas.IdealCompletions,
        ("prompt_id", "completion_id"),
        "Ideal replies for supervised fine-tuning; replaced by the asset of that name.",
    ),
    Table(
        "fitted_weights",
        schemas.FittedWeights,
        ("response_type", "feature"),
        "Weights with intervals; replaced by the asset of that name.",
    ),
    Table(
        "fit_certificates",
        schemas.FitCertificates,
        ("response_type",),
        "Optimality and held-out error rates of the fit; replaced with `fitted_weights`.",
    ),
    Table(
        "checkpoints",
        schemas.Checkpoints,
        ("variant", "checkpoint"),
        "Every checkpoint ever trained; never removed, so that a reverted edit finds its own again.",
    ),
    Table(
        "current_checkpoints",
        schemas.CurrentCheckpoints,
        ("variant",),
        "Which checkpoint of each variant the evaluation reads; each row replaced by its asset.",
    ),
    Table(
        "training_metrics",
        schemas.TrainingMetrics,
        ("variant", "checkpoint", "metric", "step"),
        "Training curves of every checkpoint; never removed.",
    ),
    Table(
        "evaluation_completions",
        schemas.EvaluationCompletions,
        ("variant", "checkpoint", "split", "prompt_id", "completion_id"),
        "Replies of the current checkpoints to test prompts; each variant's part replaced by its asset.",
    ),
    Table(
        "evaluation_grades",
        schemas.EvaluationGrades,
        ("variant", "completion_id", "proposition"),
        "Grades of the current checkpoints' replies; replaced by the asset of that name.",
    ),
    Table(
        "evaluation_metrics",
        schemas.Evaluations,
        ("variant", "split", "judge"),
        "Metrics of the current checkpoints under the current rulebook; replaced by the asset of that name.",
    ),
    Table(
        "evaluations",
        schemas.Evaluations,
        ("variant", "checkpoint", "rulebook", "split", "judge"),
        "Metrics of every checkpoint under every rulebook so far; only appended to.",
    ),
)


def as_markdown() -> str:
    """The tables as a Markdown page: `docs/tables.md` is this text."""
    parts = [
        "# Tables",
        "The tables of `rbr.duckdb`. This page is generated: `python -m resources.store.tables > docs/tables.md`.",
        "Key columns are **bold**; no two rows share them. Cells are only ever appended to, checkpoints never removed; "
        "the other tables hold the latest content of one asset.",
    ]
    for table in TABLES.values():
        parts += [f"## {table.name}", table.description, _columns_as_markdown(table)]
    return "\n\n".join(parts) + "\n"


def _columns_as_markdown(table: Table) -> str:
    lines = ["| column | type | may be null | meaning |", "| --- | --- | --- | --- |"]
    for name, column in table.schema.columns.items():
        shown = f"**{name}**" if name in table.key else name
        null = "yes" if column.nullable else ""
        lines.append(f"| {shown} | {column.dtype.type} | {null} | {column.description} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_markdown(), end="")  # noqa: T201
