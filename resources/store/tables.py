"""The list of stored tables, with columns, key and description.

``python -m resources.store.tables > docs/tables.md`` writes the page about the tables.
"""

from dataclasses import dataclass

import pandera.polars as pa
import polars as pl

from resources.store.schemas import (
    agreement_tables,
    cell_tables,
    comparison_tables,
    evaluation_tables,
    prompt_tables,
    reward_tables,
    training_tables,
)


@dataclass(frozen=True)
class Table:
    """One table of the store.

    Attributes:
        name: Name of the table in DuckDB.
        model: Columns with type, range and meaning.
        key: Key columns. No two rows have the same values in all key columns. The store sorts rows by the key.
        description: Content of the table, and which asset writes it.
    """

    name: str
    model: type[pa.DataFrameModel]
    key: tuple[str, ...]
    description: str

    @property
    def schema(self) -> pa.DataFrameSchema:
        """A strict schema: exactly these columns, in this order, with a unique key."""
        schema = self.model.to_schema()
        schema.strict = True
        schema.ordered = True
        schema.unique = list(self.key)
        return schema

    @property
    def dtypes(self) -> dict[str, type[pl.DataType]]:
        """Polars type of each column, in order."""
        return {name: column.dtype.type for name, column in self.model.to_schema().columns.items()}


def _by_name(*tables: Table) -> dict[str, Table]:
    return {table.name: table for table in tables}


TABLES: dict[str, Table] = _by_name(
    Table(
        "snapshots",
        prompt_tables.Snapshots,
        ("name",),
        "Parsed content of the rulebook, profile and data files. The other assets read snapshots instead of files.",
    ),
    Table(
        "checked_prompts",
        prompt_tables.CheckedPrompts,
        ("prompt_id",),
        "Prompts of the data file, and which of them a model cannot read. The asset of the same name rewrites the "
        "table.",
    ),
    Table(
        "labeled_prompts",
        prompt_tables.LabeledPrompts,
        ("prompt_id",),
        "Prompts with category and response type. The asset of the same name rewrites the table.",
    ),
    Table(
        "quarantined_prompts",
        prompt_tables.QuarantinedPrompts,
        ("prompt_id",),
        "Prompts that are used nowhere, because a model cannot read them, or because the grader could not find their "
        "category. The asset `labeled_prompts` rewrites the table.",
    ),
    Table(
        "training_prompts",
        prompt_tables.TrainingPrompts,
        ("prompt_id",),
        "Prompts for synthesis and training. The asset of the same name rewrites the table.",
    ),
    Table(
        "test_prompts",
        prompt_tables.TestPrompts,
        ("prompt_id",),
        "Prompts for the evaluation. The asset of the same name rewrites the table.",
    ),
    Table(
        "completions",
        cell_tables.Completions,
        ("completion_id",),
        "Cells: all replies that were ever sampled. Rows are only added.",
    ),
    Table(
        "grades",
        cell_tables.Grades,
        ("completion_id", "question", "grader"),
        "Cells: all answers that a grader ever gave. Rows are only added.",
    ),
    Table(
        "canary_answers",
        cell_tables.CanaryAnswers,
        ("grader", "probe"),
        "Answers to fixed questions, by which a later run sees that the model behind a server has changed. Rows stay.",
    ),
    Table(
        "scores",
        cell_tables.Scores,
        ("completion_id", "reward_model"),
        "Cells: all scores that a reward model ever computed. Rows are only added.",
    ),
    Table(
        "synthetic_comparisons",
        comparison_tables.SyntheticComparisons,
        ("prompt_id", "slot", "candidate"),
        "Candidate replies of each prompt and slot. The asset of the same name rewrites the table.",
    ),
    Table(
        "proposition_grades",
        comparison_tables.PropositionGrades,
        ("completion_id", "proposition"),
        "Grades of the candidate replies. The asset of the same name rewrites the table.",
    ),
    Table(
        "reward_model_scores",
        comparison_tables.RewardModelScores,
        ("completion_id",),
        "Scores R_rm of the candidate replies. The asset of the same name rewrites the table.",
    ),
    Table(
        "grader_agreement",
        agreement_tables.GraderAgreement,
        ("proposition",),
        "Agreement of the grader with the gold labels. The asset of the same name rewrites the table.",
    ),
    Table(
        "category_agreement",
        agreement_tables.CategoryAgreement,
        ("category",),
        "Agreement of the grader's categories with those of the data file, on a sample of prompts. The asset of the "
        "same name rewrites the table.",
    ),
    Table(
        "accepted_propositions",
        agreement_tables.AcceptedPropositions,
        ("proposition",),
        "Thresholds of all propositions, and which may be features. The asset of the same name rewrites the table. Its "
        "data version leaves out the reasons.",
    ),
    Table(
        "grader_attacks",
        agreement_tables.GraderAttacks,
        ("attack", "proposition"),
        "How far attacks inside a reply move P(yes). The asset of the same name rewrites the table.",
    ),
    Table(
        "attacked_classes",
        agreement_tables.AttackedClasses,
        ("attack",),
        "How many replies change class under an attack. The asset of the same name rewrites the table.",
    ),
    Table(
        "class_agreement",
        agreement_tables.ClassAgreement,
        ("response_type", "class_name"),
        "Class probabilities compared with gold labels. The asset of the same name rewrites the table.",
    ),
    Table(
        "verified_comparisons",
        comparison_tables.VerifiedComparisons,
        ("prompt_id", "slot"),
        "The candidate that fills each slot of each prompt. The asset of the same name rewrites the table.",
    ),
    Table(
        "ideal_completions",
        comparison_tables.IdealCompletions,
        ("prompt_id", "completion_id"),
        "Ideal replies for supervised fine-tuning. The asset of the same name rewrites the table.",
    ),
    Table(
        "fitted_weights",
        reward_tables.FittedWeights,
        ("response_type", "feature"),
        "Fitted weights with intervals. The asset of the same name rewrites the table.",
    ),
    Table(
        "fit_certificates",
        reward_tables.FitCertificates,
        ("response_type",),
        "Duality gap and held-out error rates of the fit. The asset `fitted_weights` rewrites the table.",
    ),
    Table(
        "reward_error_rates",
        reward_tables.RewardErrorRates,
        ("response_type", "replies"),
        "Error rates of the reward on held-out prompts. The asset `reward_audit` rewrites the table.",
    ),
    Table(
        "wrongly_ordered_pairs",
        reward_tables.WronglyOrderedPairs,
        ("better", "worse"),
        "Held-out pairs that the reward orders wrongly, and why. The asset `fitted_weights` rewrites the table.",
    ),
    Table(
        "checkpoints",
        training_tables.Checkpoints,
        ("variant", "checkpoint"),
        "All checkpoints that were ever trained. Rows stay, so a reverted edit finds its old checkpoint.",
    ),
    Table(
        "current_checkpoints",
        training_tables.CurrentCheckpoints,
        ("variant",),
        "The current checkpoint of each variant. The training asset of the variant rewrites the row.",
    ),
    Table(
        "training_metrics",
        training_tables.TrainingMetrics,
        ("variant", "checkpoint", "metric", "step"),
        "Training curves of all checkpoints. Rows stay.",
    ),
    Table(
        "evaluation_completions",
        evaluation_tables.EvaluationCompletions,
        ("variant", "checkpoint", "split", "prompt_id", "completion_id"),
        "Replies of the current checkpoints to the test prompts. The asset of each variant rewrites its own rows.",
    ),
    Table(
        "evaluation_grades",
        evaluation_tables.EvaluationGrades,
        ("variant", "completion_id", "proposition"),
        "Grades of the replies of the current checkpoints. The asset of the same name rewrites the table.",
    ),
    Table(
        "evaluation_metrics",
        evaluation_tables.Evaluations,
        ("variant", "split", "judge"),
        "Metrics of the current checkpoints under the current rulebook. The asset of the same name rewrites the table.",
    ),
    Table(
        "evaluations",
        evaluation_tables.Evaluations,
        ("variant", "checkpoint", "rulebook", "split", "judge"),
        "Metrics of all checkpoints so far, each under the rulebook of its time. Rows are only added.",
    ),
)


def as_markdown() -> str:
    """Returns the text of `docs/tables.md`."""
    parts = [
        "# Tables",
        "The tables of `rbr.duckdb`. This page is generated: `python -m resources.store.tables > docs/tables.md`.",
        "Key columns are **bold**: no two rows have the same values in all of them. Rows of cells, `canary_answers`, "
        "`checkpoints`, `training_metrics` and `evaluations` are never removed. The other tables have the latest "
        "content of an asset.",
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
