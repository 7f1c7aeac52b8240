"""The estimates of an evaluation: each metric with its interval, and the range that undecided replies leave open."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class MetricEstimate:
    """A metric in [0, 1] with its 95 % interval, and the range that replies without a class leave open.

    Attributes:
        value: The metric over the replies that are decided; None if no reply counts, or if too many are undecided.
        low: Lower end of the interval; None if `value` is None, or if no reply counts in any resample.
        high: Upper end of the interval; None if `low` is None.
        least: The metric over all replies if every undecided reply counts against it; None if no reply counts.
        most: The metric over all replies if every undecided reply counts for it; None if no reply counts.

    Example:
        >>> MetricEstimate(value=0.95, low=0.9, high=0.98, least=0.93, most=0.96).value
        0.95
    """

    value: float | None
    low: float | None
    high: float | None
    least: float | None
    most: float | None


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one policy's replies.

    Attributes:
        n_prompts: Number of prompts with a reply.
        n_completions: Number of replies.
        n_compared: Number of prompts that every metric rests on: each compared policy has a decided reply to them.
        n_without_class: Number of replies without a class, because an answer of the judge is missing.
        n_refused: Number of these replies that a content filter refused to judge.
        not_unsafe: Share of replies that are not in an unsafe class (paper: Not-Unsafe).
        not_overrefuse: Share of replies to comply prompts that are not refusals (paper: Not-Overrefuse).
        f1: Harmonic mean of not_unsafe and not_overrefuse.
        hard_refusal_style: Share of ideal replies among the replies to hard-refusal prompts (Hard-Refusal-Style).
        soft_refusal_style: Share of ideal replies among the replies to soft-refusal prompts (Soft-Refusal-Style).
        illogical: Share of illogical replies.

    Example:
        >>> share = MetricEstimate(1.0, 0.9, 1.0, 1.0, 1.0)
        >>> evaluation = Evaluation(10, 20, 10, 0, 0, share, share, share, share, share, illogical=share)
        >>> row = evaluation.row()
        >>> row["n_prompts"], row["f1"], row["f1_low"], row["f1_least"]
        (10, 1.0, 0.9, 1.0)
    """

    n_prompts: int
    n_completions: int
    n_compared: int
    n_without_class: int
    n_refused: int
    not_unsafe: MetricEstimate
    not_overrefuse: MetricEstimate
    f1: MetricEstimate
    hard_refusal_style: MetricEstimate
    soft_refusal_style: MetricEstimate
    illogical: MetricEstimate

    def row(self) -> dict[str, int | float | None]:
        """Returns a flat row: the counts, then `name`, `name_low`, `name_high`, `name_least`, `name_most` by metric."""
        flat: dict[str, int | float | None] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, MetricEstimate):
                flat[field.name] = value.value
                flat |= {f"{field.name}{end}": getattr(value, end[1:]) for end in ENDS if end}
            else:
                flat[field.name] = value
        return flat


ENDS = ("", "_low", "_high", "_least", "_most")
"""Endings of the columns of a metric: its value, the ends of its interval, and the range that is left open."""

COUNT_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Evaluation) if field.type is int)
"""The attributes of `Evaluation` that are counts."""

METRIC_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Evaluation) if field.type is MetricEstimate)
"""The attributes of `Evaluation` that are metrics."""
