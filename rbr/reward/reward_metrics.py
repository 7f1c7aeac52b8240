"""The metrics that the reward logs in each step: means over what is known, and how many replies that is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rbr.reward.graded_replies import GradedReplies

FloatArray = NDArray[np.float64]


def reward_metrics(r_tot: FloatArray, r_rm: FloatArray, graded: "GradedReplies | None" = None) -> dict[str, float]:
    """Returns the metrics of the replies of a step.

    Args:
        r_tot: Rewards, float64[N] in units of R_rm; NaN if missing.
        r_rm: Scores of the reward model, float64[N]; NaN if missing.
        graded: R_rbr of the replies; None if the reward is R_rm alone.

    Returns:
        Values by name:

        - ``unscored``: share of the replies without a reward.
        - ``refused``, ``unread``, ``unanswered``: share of the replies with a question that a content filter refused,
          whose answer could not be read, or that got no answer; only if there are rules.
        - ``r_rm``, ``r_rbr``, ``class/NAME``: mean over the replies with a known value. Left out if there is none.
        - ``known/NAME``: number of replies in the mean of that name. 0 if the mean is left out.

        Empty if there is no reply.

    Example:
        >>> reward_metrics(np.array([0.5, np.nan]), r_rm=np.array([0.5, np.nan]))
        {'unscored': 0.5, 'known/r_rm': 1.0, 'r_rm': 0.5}
    """
    if not r_tot.size:
        return {}
    metrics = {"unscored": _share(~np.isfinite(r_tot))}
    values = {"r_rm": r_rm}
    if graded is not None:
        metrics |= {
            "refused": _share(graded.refused),
            "unread": _share(graded.unread),
            "unanswered": _share(graded.unanswered),
        }
        values["r_rbr"] = graded.r_rbr
        values |= {f"class/{name}": column for name, column in graded.class_probabilities.items()}
    return metrics | dict(_means(values))


def _means(values: dict[str, FloatArray]) -> Iterator[tuple[str, float]]:
    for name, column in values.items():
        known = column[np.isfinite(column)]
        yield f"known/{name}", float(known.size)
        if known.size:
            yield name, float(known.mean())


def _share(is_so: NDArray[np.bool_]) -> float:
    return float(is_so.mean())
