"""The difference between two sets of answers to the canary, and the bars that tell a drift from noise."""

from dataclasses import dataclass
from statistics import fmean

from rbr.grading.answers import Outcome
from rbr.grading.canary_probes import ProbeAnswers

NOISE_FACTOR = 3
"""A drift counts if it is larger than this multiple of the noise."""

LARGEST_DRIFT = 0.02
"""The drift of a single answer counts only above this value. Caching and batching move answers by up to 0.016."""

LARGEST_MEAN_DRIFT = 0.005
"""The mean drift counts only above this value."""

LARGEST_CHANGED = 2
"""So many probes may change between answered, unreadable and refused, near the bars of `grader.min_mass` and others."""

LARGEST_NOISE = 0.25
"""The largest difference of P(yes) between two answers of one judge to the same question. With 4 bits and a cache of 16
bits, llama.cpp has 0.062. Beyond it, no drift could ever be larger than `NOISE_FACTOR` times the noise."""

LARGEST_CHANGED_SHARE = 0.25
"""The largest share of probes that one judge answers once readably and once not."""


@dataclass(frozen=True)
class Difference:
    """The difference between two sets of answers to the same probes.

    Attributes:
        n: Number of probes that both sets answer.
        n_changed: Number of probes with another outcome in the other set.
        largest: Largest absolute difference of P(yes), in [0, 1]; 0 if `n` is 0.
        mean: Mean absolute difference of P(yes), in [0, 1]; 0 if `n` is 0.

    Example:
        >>> from rbr.grading.answers import Answer
        >>> first = {"a": Answer(Outcome.ANSWERED, 0.75), "b": Answer(Outcome.ANSWERED, 0.5)}
        >>> second = {"a": Answer(Outcome.ANSWERED, 0.5), "b": Answer(Outcome.UNREADABLE)}
        >>> Difference.between(first, second)
        Difference(n=1, n_changed=1, largest=0.25, mean=0.25)
    """

    n: int
    n_changed: int
    largest: float
    mean: float

    @classmethod
    def between(cls, first: ProbeAnswers, second: ProbeAnswers) -> "Difference":
        """Compares two sets of answers. Probes that only one of them contains are left out."""
        pairs = [(first[probe], second[probe]) for probe in first if probe in second]
        both = [(a, b) for a, b in pairs if a.outcome == b.outcome == Outcome.ANSWERED]
        moved = [abs(a.p_yes - b.p_yes) for a, b in both]
        n_changed = sum(a.outcome != b.outcome for a, b in pairs)
        return cls(len(moved), n_changed, max(moved, default=0.0), fmean(moved) if moved else 0.0)

    @property
    def words(self) -> str:
        """How far the answers moved."""
        changed = f", and {self.n_changed} became readable or unreadable" if self.n_changed else ""
        return (
            f"its answers to {self.n} fixed questions moved by up to {self.largest:.3f} (mean {self.mean:.3f}){changed}"
        )

    @property
    def is_of_one_judge(self) -> bool:
        """Whether one judge can give both sets of answers. If not, no drift can be beyond such a noise."""
        bar = max(LARGEST_CHANGED, LARGEST_CHANGED_SHARE * (self.n + self.n_changed))
        return self.largest <= LARGEST_NOISE and self.n_changed <= bar

    def is_beyond(self, noise: "Difference") -> bool:
        """Returns whether this difference is more than noise explains: the rule of the canary.

        It is if one of three values is larger than `NOISE_FACTOR` times that of the noise, and larger than its own
        smallest bar: `largest` (`LARGEST_DRIFT`), `mean` (`LARGEST_MEAN_DRIFT`) and `n_changed` (`LARGEST_CHANGED`).

        Args:
            noise: Difference between two sets of answers that the same model gave one after the other.

        Example:
            >>> noise = Difference(n=40, n_changed=0, largest=0.016, mean=0.001)
            >>> Difference(40, 0, largest=0.045, mean=0.004).is_beyond(noise)
            False
            >>> Difference(40, 0, largest=0.051, mean=0.004).is_beyond(noise)
            True
        """
        return (
            self.largest > max(NOISE_FACTOR * noise.largest, LARGEST_DRIFT)
            or self.mean > max(NOISE_FACTOR * noise.mean, LARGEST_MEAN_DRIFT)
            or self.n_changed > max(NOISE_FACTOR * noise.n_changed, LARGEST_CHANGED)
        )
