"""The bars of a behavior policy: what the grader and the fitted reward must reach before later stages use them."""

from typing import Annotated

from pydantic import Field

from rbr.rulebook.fields import Entry, Identifier, SortedByKey

Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False)]


class Agreement(Entry):
    """The agreement with human labels that the grader must reach before a proposition becomes a feature.

    Attributes:
        bar: Smallest balanced accuracy, in [0, 1].
        per_proposition: Bars of single propositions, by proposition. They override `bar`.
        min_labels: A proposition is undecided if fewer labels than this say yes, or fewer say no.
        min_read: A proposition is undecided if the grader's answer could be read for a smaller share of its labels.

    Example:
        >>> agreement = Agreement(bar=0.7, per_proposition={"apology": 0.9})
        >>> agreement.bar_of("apology"), agreement.bar_of("judgement")
        (0.9, 0.7)
    """

    bar: Share
    per_proposition: SortedByKey[Identifier, Share] = Field(default_factory=dict)
    min_labels: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 20
    min_read: Share = 0.9

    def bar_of(self, proposition: str) -> float:
        """Returns the bar of a proposition, in [0, 1]."""
        return self.per_proposition.get(proposition, self.bar)


class ErrorRateBar(Entry):
    """The error rate of R_rm + R_rbr on held-out comparisons that a fitted reward must not exceed.

    Attributes:
        bar: Largest error rate, in [0, 1].
        per_response_type: Bars of single response types. They override `bar`.

    Example:
        >>> error_rate = ErrorRateBar(bar=0.05, per_response_type={"comply": 0.02})
        >>> error_rate.bar_of("comply"), error_rate.bar_of("hard_refusal")
        (0.02, 0.05)
    """

    bar: Share = 0.05
    per_response_type: SortedByKey[Identifier, Share] = Field(default_factory=dict)

    def bar_of(self, response_type: str) -> float:
        """Returns the bar of a response type, in [0, 1]."""
        return self.per_response_type.get(response_type, self.bar)
