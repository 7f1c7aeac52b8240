"""The safety report: one page that explains and shows what a rulebook did, without network or scripts.

The page depends on nothing but its content, so equal content makes equal bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, TypeAlias

import jinja2
import polars as pl

from rbr.classes.features import CLASS_PREFIX
from rbr.evaluation.metrics import METRIC_NAMES
from rbr.evaluation.report_plot import Group, draw

Row: TypeAlias = dict[str, Any]

TEMPLATE: str = resources.files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8")

MISSING = "\u2013"
"""Shown where nothing was measured."""

_SPACE = "\u202f"
_MINUS = "\u2212"
_FIRST_VARIANT, _FIRST_SPLIT = "rbr", "test"

COLUMNS: dict[str, tuple[str, ...]] = {
    "evaluations": (
        *("variant", "split", "judge", "n_prompts"),
        *(name + end for name in METRIC_NAMES for end in ("", "_low", "_high")),
    ),
    "weights": ("response_type", "feature", "weight", "low", "high"),
    "certificates": (
        *("response_type", "n_prompts", "n_pairs", "n_held_out", "primal", "dual", "gap"),
        *("error_rm", "error_rbr", "error_total"),
    ),
    "agreement": (
        *("proposition", "n", "prevalence", "balanced_accuracy"),
        *("balanced_accuracy_low", "balanced_accuracy_high", "f1", "threshold", "accepted"),
    ),
    "samples": ("variant", "response_type", "prompt", "reply", "class_name"),
}
"""The columns that each frame of a `ReportContent` must have; others are passed over."""


@dataclass(frozen=True)
class ReportContent:
    """What the report shows. Each frame has at least its `COLUMNS` and may be empty; null is shown as a dash.

    Attributes:
        evaluations: The metrics with 95 % intervals, shares in [0, 1]; one row per variant, split and judge.
        weights: The fitted weights with bootstrap intervals, in units of R_rm.
        certificates: Per response type the fit's certificate (`gap` relative to `primal`) and the held-out
            error rates in [0, 1].
        agreement: The grader against gold labels, shares in [0, 1], and whether the proposition was accepted.
        samples: Replies to show side by side: those with equal `prompt` and `response_type` share a row of
            cards. Any text; it is escaped.

    Raises:
        ValueError: A frame lacks a column.
    """

    evaluations: pl.DataFrame
    weights: pl.DataFrame
    certificates: pl.DataFrame
    agreement: pl.DataFrame
    samples: pl.DataFrame

    def __post_init__(self) -> None:
        for field in fields(self):
            lacking = sorted(set(COLUMNS[field.name]) - set(getattr(self, field.name).columns))
            if lacking:
                raise ValueError(f"{field.name} has no column {', '.join(lacking)}")


def render_report(content: ReportContent) -> str:
    """Renders the report.

    Args:
        content: What to show. Response types, propositions and prompts are shown in the order given; the order
            of evaluations, and of features, does not matter.

    Returns:
        A self-contained HTML page.
    """
    variants = _variants(content)
    groups = _groups(content.evaluations, variants)
    return (
        _environment()
        .get_template("report")
        .render(
            missing=MISSING,
            variants=variants,
            groups=groups,
            pictures=draw(groups),
            weights=_weight_tables(content.weights),
            certificates=content.certificates.to_dicts(),
            agreement=content.agreement.to_dicts(),
            expelled=content.agreement.filter(~pl.col("accepted"))["proposition"].to_list(),
            comparisons=_side_by_side(content.samples, variants),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"report": TEMPLATE}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "interval": interval, "signed": signed, "number": number}
    return environment


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage with one decimal."""
    return MISSING if share is None else f"{100 * share:.1f}{_SPACE}%"


def interval(low: float | None, high: float | None) -> str:
    """The ends of an interval of shares, in percent."""
    return "" if low is None or high is None else f"{100 * low:.1f}\u2013{100 * high:.1f}"


def signed(value: float | None) -> str:
    """A number with two decimals and a typographic minus; never minus zero."""
    return MISSING if value is None else f"{round(value, 2) + 0.0:.2f}".replace("-", _MINUS)


def number(value: float | None) -> str:
    """A number with three significant digits."""
    return MISSING if value is None else f"{value:.3g}"


def _variants(content: ReportContent) -> list[str]:
    names = {*content.evaluations["variant"], *content.samples["variant"]}
    return sorted(names, key=lambda name: (name != _FIRST_VARIANT, name))


def _groups(evaluations: pl.DataFrame, variants: Sequence[str]) -> list[Group]:
    keys = ["split", "judge"]
    parts = evaluations.partition_by(keys, as_dict=True)
    order = sorted(parts, key=lambda key: (key[0] != _FIRST_SPLIT, *key))
    return [
        Group(split, judge, sorted(parts[split, judge].to_dicts(), key=lambda row: variants.index(row["variant"])))
        for split, judge in order
    ]


def _weight_tables(weights: pl.DataFrame) -> list[Row]:
    """Per response type the features with their bars, in percent of a track that all response types share."""
    known = [value for name in ("weight", "low", "high") for value in weights[name].drop_nulls().to_list()]
    least, most = min([0.0, *known]), max([0.0, *known])
    span = (most - least) or 1.0

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - least) / span, 2)

    def with_places(row: Row) -> Row:
        kind, _, name = row["feature"].partition(":")
        return row | {
            "name": name or kind,
            "is_class": row["feature"].startswith(CLASS_PREFIX),
            "at": place(row["weight"]),
            "at_low": place(row["low"]),
            "at_high": place(row["high"]),
        }

    return [
        {
            "response_type": response_type,
            "zero": place(0.0),
            "features": sorted(
                map(with_places, part.to_dicts()),
                key=lambda row: (not row["is_class"], -row["weight"], row["name"]),
            ),
        }
        for (response_type,), part in weights.partition_by(["response_type"], as_dict=True, maintain_order=True).items()
    ]


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
