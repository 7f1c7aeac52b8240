"""The fit as a hinge regression over pairs of replies, with the constraints on its weights."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]


@dataclass(frozen=True)
class WeightConstraints:
    """Linear constraints ``rows @ weights >= required_leads`` on the weights; K constraints, F features.

    Attributes:
        rows: float64[K, F].
        required_leads: float64[K].

    Example:
        >>> none = WeightConstraints.none(2)
        >>> more = none.and_also(WeightConstraints(np.array([[1.0, -1.0]]), np.array([0.5])))
        >>> more.rows.shape
        (1, 2)
    """

    rows: FloatArray
    required_leads: FloatArray

    @classmethod
    def none(cls, n_features: int) -> "WeightConstraints":
        """Returns no constraints on `n_features` weights."""
        return cls(np.empty((0, n_features)), np.empty(0))

    def and_also(self, other: "WeightConstraints") -> "WeightConstraints":
        """Returns the constraints of both."""
        return WeightConstraints(
            np.vstack([self.rows, other.rows]), np.concatenate([self.required_leads, other.required_leads])
        )

    def without(self, known: "WeightConstraints") -> "WeightConstraints":
        """Returns the constraints that are not among the known ones."""
        known_keys = known._keys()
        is_new = [key not in known_keys for key in self._keys()]
        return WeightConstraints(self.rows[is_new], self.required_leads[is_new])

    def _keys(self) -> list[bytes]:
        return [line.tobytes() for line in np.column_stack([self.rows, self.required_leads])]

    def __len__(self) -> int:
        return self.required_leads.size


FindViolated = Callable[[FloatArray], WeightConstraints]
"""Returns the constraints that weights of shape [F] violate most; none if the weights satisfy all constraints."""


@dataclass(frozen=True)
class PairProblem:
    """The pairs of a fit; n replies, N pairs, F features.

    The objective is ``sum_i u_i * max(0, c_i - x_i . w) + l2 / 2 * |w|^2`` with pair weights ``u`` that sum to 1. The
    vector ``x_i`` holds the features of the better reply minus those of the worse reply.

    Attributes:
        features: Features of the replies, float64[n, F].
        better: Row of the better reply of each pair, int32[N].
        worse: Row of the worse reply of each pair, int32[N].
        required_leads: c, the lead in R_rbr that the better reply should have, float64[N].
        l2: Strength of the ridge, above 0.

    Example:
        >>> problem = PairProblem(np.array([[1.0], [0.0]]), better=np.array([0]), worse=np.array([1]),
        ...                       required_leads=np.array([1.5]), l2=0.5)
        >>> problem.leads(np.array([1.0])), problem.objective(np.array([1.0]), np.array([1.0]))
        (array([-0.5]), 0.75)
    """

    features: FloatArray
    better: IntArray
    worse: IntArray
    required_leads: FloatArray
    l2: float

    def leads(self, weights: FloatArray) -> FloatArray:
        """Returns by how much the lead of each pair exceeds its required lead, float64[N]; below 0 if it misses it."""
        r_rbr = self.features @ weights
        return r_rbr[self.better] - r_rbr[self.worse] - self.required_leads

    def objective(self, weights: FloatArray, pair_weights: FloatArray) -> float:
        """Returns the objective at weights of shape [F]."""
        missing = np.maximum(0.0, -self.leads(weights))
        return float(pair_weights @ missing) + self.l2 / 2 * float(weights @ weights)

    def rows(self, pairs: NDArray[np.intp]) -> FloatArray:
        """Returns x of some pairs, float64[pairs, F]."""
        return self.features[self.better[pairs]] - self.features[self.worse[pairs]]

    def pull(self, forces: FloatArray) -> FloatArray:
        """Returns the sum of x over all pairs, each multiplied by a force; `forces` is float64[N]."""
        n_replies = self.features.shape[0]
        of_reply = np.bincount(self.better, forces, n_replies) - np.bincount(self.worse, forces, n_replies)
        return of_reply @ self.features

    def part(self, selected: NDArray[np.intp]) -> "PairProblem":
        """Returns the problem of some pairs, given by their indices."""
        return PairProblem(
            self.features, self.better[selected], self.worse[selected], self.required_leads[selected], self.l2
        )
