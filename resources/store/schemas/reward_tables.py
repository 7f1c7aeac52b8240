"""The columns of the tables about the fitted reward: weights, certificates and the audit."""

import pandera.polars as pa
import polars as pl

from resources.store.schemas.columns import PROMPT, column, count, share


class FittedWeights(pa.DataFrameModel):
    """Weights of the linear reward."""

    response_type: str = column(description="response type that the weight applies to")
    feature: str = column(description="class:NAME or proposition:NAME")
    sign: str = column(
        isin=["desired", "undesired", "free"],
        description="desired: the weight must not be below 0; undesired: it must not be above 0; free: either",
    )
    weight: float = column(description="weight of the feature in R_rbr")
    low: float = column(nullable=True, description="lower end of the 95 % bootstrap interval of the weight")
    high: float = column(nullable=True, description="upper end of the 95 % bootstrap interval of the weight")


class FitCertificates(pa.DataFrameModel):
    """The duality gap, which bounds the distance of the weights from the optimum, and held-out error rates."""

    response_type: str = column(description="response type of the prompts")
    n_prompts: pl.Int32 = count(description="number of prompts in the fit")
    n_pairs: pl.Int32 = count(description="number of ordered pairs in the fit")
    n_held_out: pl.Int32 = count(description="number of prompts held out for the error rates")
    n_incomplete_replies: pl.Int32 = count(
        description="number of replies that the fit ignored, because a grade or the score is missing"
    )
    spread: float = column(gt=0.0, description="spread of R_rm within prompts: the unit of margins and losses")
    primal: float = column(description="value of the objective at the weights, in units of the spread")
    dual: float = column(description="lower bound of the optimal value")
    gap: float = column(
        description="(primal - dual) / primal: upper bound of the relative distance from the optimal value"
    )
    hinge_loss: float = column(ge=0.0, description="mean hinge loss over the fitted pairs, in units of the spread")
    constraint_price: float = column(
        description="how much the order of the classes and the signs raise the hinge loss, in units of the spread"
    )
    past_margin: float = share(description="share of the fitted pairs in which the better reply leads by its margin")
    order_lead: float = column(
        nullable=True,
        description="smallest R_rbr of a class minus the largest R_rbr of the next worse class, over all classes",
    )
    n_error_pairs: pl.Int32 = count(description="number of held-out pairs with an ideal reply")
    n_error_pairs_left_out: pl.Int32 = count(
        description="number of such pairs that are not counted, because a grade or the score of a reply is missing"
    )
    error_rm: float = share(nullable=True, description="held-out error rate of R_rm alone")
    error_rbr: float = share(nullable=True, description="held-out error rate of R_rbr alone")
    error_total: float = share(nullable=True, description="held-out error rate of R_rm + R_rbr")


class RewardErrorRates(pa.DataFrameModel):
    """Error rates of the reward on held-out prompts, for replies whose class is known in different ways."""

    response_type: str = column(description="response type of the prompts")
    replies: str = column(
        isin=["verified", "candidates by grader", "candidates by oracle"],
        description="verified: verified comparisons, ordered by label; candidates: all candidates, ordered by class",
    )
    n_pairs: pl.Int32 = count(description="number of pairs of an ideal reply and a worse reply to the same prompt")
    n_left_out: pl.Int32 = count(
        description="number of pairs that may be such pairs, but a grade or the score of a reply is missing"
    )
    error_rm: float = share(nullable=True, description="error rate of R_rm alone")
    error_rbr: float = share(nullable=True, description="error rate of R_rbr alone")
    error_total: float = share(nullable=True, description="error rate of R_rm + R_rbr")


class WronglyOrderedPairs(pa.DataFrameModel):
    """Held-out pairs of verified replies in which the worse reply gets at least as much reward."""

    response_type: str = column(description="response type of the prompt")
    prompt_id: str = column(description=PROMPT)
    better: str = column(description="id of the better reply")
    worse: str = column(description="id of the worse reply")
    better_label: str = column(description="label of the better reply")
    worse_label: str = column(description="label of the worse reply")
    lead: float = column(description="R_tot of the better reply minus R_tot of the worse reply; 0 or less")
    causes: str = column(description="terms that favor the worse reply most, with their differences")
