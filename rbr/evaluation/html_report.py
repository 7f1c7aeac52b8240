"""The safety report: one HTML page that shows and explains the evaluation, without network access or scripts.

The page depends on its content only, so equal content gives equal bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, TypeAlias

import jinja2
import polars as pl

from rbr.agreement.acceptance import REJECTED, UNDECIDED
from rbr.classes.features import CLASS_PREFIX
from rbr.evaluation.estimates import COUNT_NAMES, ENDS, METRIC_NAMES
from rbr.evaluation.report_plot import EvaluationGroup, safety_plots
from rbr.rulebook.parts import SIGN_VALUES, Sign

Row: TypeAlias = dict[str, Any]

MISSING = "\u2013"
"""An en dash, shown in place of a number that was not measured."""

_TEMPLATE = resources.files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8")
_NARROW_SPACE = "\u202f"
_MINUS = "\u2212"
_FIRST_VARIANT, _FIRST_SPLIT = "rbr", "test"

REPORT_COLUMNS: dict[str, tuple[str, ...]] = {
    "evaluations": (
        *("variant", "split", "judge", *COUNT_NAMES),
        *(name + end for name in METRIC_NAMES for end in ENDS),
    ),
    "weights": ("response_type", "feature", "sign", "weight", "low", "high"),
    "certificates": (
        *("response_type", "n_prompts", "n_pairs", "n_held_out", "primal", "dual", "gap", "order_lead"),
        *("error_rm", "error_rbr", "error_total"),
    ),
    "agreement": (
        *("proposition", "n", "n_missing", "n_yes", "balanced_accuracy", "balanced_accuracy_low"),
        *("balanced_accuracy_high", "f1", "threshold", "outcome", "reason"),
    ),
    "samples": ("variant", "response_type", "prompt", "reply", "class_name"),
}
"""The columns that each frame of a `ReportContent` must have; other columns are ignored."""


@dataclass(frozen=True)
class ReportContent:
    """The content of the report.

    Each frame has at least its `REPORT_COLUMNS`, and may be empty. A null is shown as a dash.

    Attributes:
        evaluations: Metrics in [0, 1] with 95 % intervals; one row per variant, split and judge.
        weights: Fitted weights with the sign of their feature and 95 % intervals, in units of R_rm.
        certificates: Certificate of the fit, order of the classes, and held-out error rates in [0, 1], one row per
            response type; `gap` is relative to `primal`.
        agreement: Agreement of the grader with the gold labels, in [0, 1], with counts of labels; whether the
            proposition is accepted, rejected or undecided, and why; one row per proposition.
        samples: Replies to show. Replies with equal `prompt` and `response_type` are shown side by side. The report
            escapes their text.

    Raises:
        ValueError: A frame lacks a column.

    Example:
        >>> content = ReportContent(**{
        ...     name: pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
        ...     for name, columns in REPORT_COLUMNS.items()})
        >>> content.weights.columns
        ['response_type', 'feature', 'sign', 'weight', 'low', 'high']
    """

    evaluations: pl.DataFrame
    weights: pl.DataFrame
    certificates: pl.DataFrame
    agreement: pl.DataFrame
    samples: pl.DataFrame

    def __post_init__(self) -> None:
        for field in fields(self):
            missing = sorted(set(REPORT_COLUMNS[field.name]) - set(getattr(self, field.name).columns))
            if missing:
                raise ValueError(f"{field.name} has no column {', '.join(missing)}")


def render_report(content: ReportContent) -> str:
    """Renders the report.

    Args:
        content: The frames to show. Response types, propositions and prompts keep their order; evaluations and
            features are sorted.

    Returns:
        A self-contained HTML page.

    Example:
        >>> schemas = {name: dict.fromkeys(columns, pl.String) for name, columns in REPORT_COLUMNS.items()}
        >>> content = ReportContent(**{name: pl.DataFrame(schema=schema) for name, schema in schemas.items()})
        >>> render_report(content).startswith("<!doctype html>")
        True
    """
    variants = _variants(content)
    groups = _evaluation_groups(content.evaluations, variants)
    return (
        _environment()
        .get_template("report")
        .render(
            missing=MISSING,
            variants=variants,
            groups=groups,
            plots=safety_plots(groups),
            weights=_weight_tables(content.weights),
            certificates=content.certificates.to_dicts(),
            agreement=content.agreement.to_dicts(),
            not_accepted={
                outcome: content.agreement.filter(pl.col("outcome") == outcome).to_dicts()
                for outcome in (REJECTED, UNDECIDED)
            },
            comparisons=_side_by_side(content.samples, variants),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"report": _TEMPLATE}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "interval": interval, "signed": signed, "number": number}
    return environment


def percent(share: float | None) -> str:
    """Formats a share in [0, 1] as a percentage with one decimal; a dash if the share is None."""
    return MISSING if share is None else f"{100 * share:.1f}{_NARROW_SPACE}%"


def interval(low: float | None, high: float | None) -> str:
    """Formats the ends of an interval of shares in percent, without the percent sign; empty if an end is None.

    Example:
        >>> interval(0.9, 0.985).split(MISSING)  # An en dash is between the ends.
        ['90.0', '98.5']
    """
    return "" if low is None or high is None else f"{100 * low:.1f}\u2013{100 * high:.1f}"


def signed(value: float | None) -> str:
    """Formats a number with two decimals and a typographic minus; minus zero becomes 0.00, and None a dash."""
    return MISSING if value is None else f"{round(value, 2) + 0.0:.2f}".replace("-", _MINUS)


def number(value: float | None) -> str:
    """Formats a number with three significant digits; a dash if the number is None."""
    return MISSING if value is None else f"{value:.3g}"


def _variants(content: ReportContent) -> list[str]:
    names = {*content.evaluations["variant"], *content.samples["variant"]}
    return sorted(names, key=lambda name: (name != _FIRST_VARIANT, name))


def _evaluation_groups(evaluations: pl.DataFrame, variants: Sequence[str]) -> list[EvaluationGroup]:
    parts = evaluations.partition_by(["split", "judge"], as_dict=True)
    order = sorted(parts, key=lambda key: (key[0] != _FIRST_SPLIT, *key))
    return [
        EvaluationGroup(
            split, judge, sorted(parts[split, judge].to_dicts(), key=lambda row: variants.index(row["variant"]))
        )
        for split, judge in order
    ]


def _weight_tables(weights: pl.DataFrame) -> list[Row]:
    """Returns one table per response type, with positions in percent of a scale that all response types share."""
    values = [value for name in ("weight", "low", "high") for value in weights[name].drop_nulls().to_list()]
    least, most = min([0.0, *values]), max([0.0, *values])
    span = (most - least) or 1.0

    def position(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - least) / span, 2)

    def with_bar(row: Row) -> Row:
        prefix, _, name = row["feature"].partition(":")
        return row | {
            "name": name or prefix,
            "is_class": row["feature"].startswith(CLASS_PREFIX),
            "color": _bar_color(row["sign"], row["weight"]),
            "at": position(row["weight"]),
            "at_low": position(row["low"]),
            "at_high": position(row["high"]),
        }

    return [
        {
            "response_type": response_type,
            "zero": position(0.0),
            "features": sorted(
                map(with_bar, part.to_dicts()),
                key=lambda row: (not row["is_class"], -row["weight"], row["name"]),
            ),
        }
        for (response_type,), part in weights.partition_by(["response_type"], as_dict=True, maintain_order=True).items()
    ]


def _bar_color(sign: Sign, weight: float) -> str:
    """Returns the style of a weight's bar: red if the weight is against the sign of its feature."""
    if sign == "free":
        return "free"
    return "against" if weight * SIGN_VALUES[sign] < 0 else "by-rules"


def _side_by_side(samples: pl.DataFrame, variants: Sequence[str]) -> list[Row]:
    parts = samples.partition_by(["response_type", "prompt"], as_dict=True, maintain_order=True)
    return [
        {
            "response_type": response_type,
            "prompt": prompt,
            "replies": sorted(part.to_dicts(), key=lambda row: variants.index(row["variant"])),
        }
        for (response_type, prompt), part in parts.items()
    ]
