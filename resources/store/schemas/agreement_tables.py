"""The tables about the agreement of the grader with people, and about attacks on it."""

import pandera.polars as pa
import polars as pl

from rbr.agreement.acceptance import OUTCOMES
from resources.store.schemas.columns import HIGH, LOW, column, count, share


class GraderAgreement(pa.DataFrameModel):
    """Agreement of the grader with the gold labels, by proposition."""

    proposition: str = column(description="name of the proposition")
    n: pl.Int32 = count(description="number of gold labels with a grade")
    n_missing: pl.Int32 = count(description="number of gold labels without a grade")
    n_refused: pl.Int32 = count(description="how many of n_missing a content filter in front of the grader refused")
    n_yes: pl.Int32 = count(description="number of gold labels with a grade that say yes")
    prevalence: float = share(nullable=True, description="n_yes / n; null if n is 0")
    majority_accuracy: float = share(
        nullable=True, description="accuracy of a grader that always gives the more frequent answer"
    )
    accuracy: float = share(nullable=True, description="share of the labels that the grader agrees with")
    accuracy_low: float = share(nullable=True, description=LOW)
    accuracy_high: float = share(nullable=True, description=HIGH)
    balanced_accuracy: float = share(nullable=True, description="mean of sensitivity and specificity")
    balanced_accuracy_low: float = share(nullable=True, description=LOW)
    balanced_accuracy_high: float = share(nullable=True, description=HIGH)
    f1: float = share(nullable=True, description="harmonic mean of precision and recall")
    f1_low: float = share(nullable=True, description=LOW)
    f1_high: float = share(nullable=True, description=HIGH)
    kappa: float = column(nullable=True, ge=-1.0, le=1.0, description="Cohen's kappa; 0 is agreement by chance")
    kappa_low: float = column(nullable=True, ge=-1.0, le=1.0, description=LOW)
    kappa_high: float = column(nullable=True, ge=-1.0, le=1.0, description=HIGH)
    brier: float = share(nullable=True, description="Brier score: mean squared difference of P(yes) and label")
    brier_low: float = share(nullable=True, description=LOW)
    brier_high: float = share(nullable=True, description=HIGH)
    ece: float = share(nullable=True, description="expected calibration error of P(yes), in 10 bins of equal width")
    ece_low: float = share(nullable=True, description=LOW)
    ece_high: float = share(nullable=True, description=HIGH)
    threshold: float = share(nullable=True, description="smallest P(yes) that counts as true")


class AcceptedPropositions(pa.DataFrameModel):
    """The propositions, with the part of the agreement that later stages read."""

    proposition: str = column(description="name of the proposition")
    threshold: float = share(description="smallest P(yes) that counts as true")
    outcome: str = column(
        isin=list(OUTCOMES),
        description="accepted: the agreement reaches the bar; rejected: it does not; undecided: too few labels, or too "
        "few readable grades",
    )
    reason: str = column(nullable=True, description="why the proposition is not accepted; null if it is accepted")


class ClassAgreement(pa.DataFrameModel):
    """Class probabilities of the gold replies, compared with the classes that their labels imply."""

    response_type: str = column(description="response type of the replies")
    class_name: str = column(description="name of the class")
    n: pl.Int32 = count(description="number of labeled replies of known class whose grades could be read")
    n_unread: pl.Int32 = count(description="number of labeled replies of known class with a missing grade")
    observed: float = share(nullable=True, description="share of the replies in the class, by their labels")
    observed_low: float = share(nullable=True, description="lower end of the 95 % interval of observed")
    observed_high: float = share(nullable=True, description="upper end of the 95 % interval of observed")
    mean_probability: float = share(nullable=True, description="mean probability of the class, by the grades")
    gap: float = column(nullable=True, description="observed minus mean_probability")
    gap_low: float = column(nullable=True, description="lower end of the 95 % interval of gap")
    gap_high: float = column(nullable=True, description="upper end of the 95 % interval of gap")
    verdict: str = column(description="the mean probability matches, is too low or too high, or is undecided")
    dependence: float = column(
        nullable=True, description="part of gap that comes from propositions that are not independent"
    )
    dependence_low: float = column(nullable=True, description="lower end of the 95 % interval of dependence")
    dependence_high: float = column(nullable=True, description="upper end of the 95 % interval of dependence")
    dependence_verdict: str = column(description="whether dependence makes the mean probability wrong, as in verdict")
    accuracy: float = share(
        nullable=True, description="share of the replies in the class for which it is the most probable class"
    )


class CategoryAgreement(pa.DataFrameModel):
    """Agreement of the grader's categories with those of the data file, by category: this category, or another one."""

    category: str = column(description="category in the content policy")
    n: pl.Int32 = count(
        description="number of sampled prompts whose category by the grader is known, of all categories"
    )
    n_missing: pl.Int32 = count(
        description="number of sampled prompts of this category whose category by the grader needs a missing answer"
    )
    n_refused: pl.Int32 = count(description="how many of n_missing a content filter in front of the grader refused")
    true_yes: pl.Int32 = count(description="prompts of this category, also by the grader")
    false_yes: pl.Int32 = count(description="prompts of another category, of this one by the grader")
    false_no: pl.Int32 = count(description="prompts of this category, of another one or none by the grader")
    true_no: pl.Int32 = count(description="prompts of another category, also by the grader")
    majority_accuracy: float = share(
        nullable=True, description="accuracy of a grader that always gives the more frequent answer"
    )
    accuracy: float = share(nullable=True, description="(true_yes + true_no) / n")
    accuracy_low: float = share(nullable=True, description=LOW)
    accuracy_high: float = share(nullable=True, description=HIGH)
    balanced_accuracy: float = share(nullable=True, description="mean of sensitivity and specificity")
    balanced_accuracy_low: float = share(nullable=True, description=LOW)
    balanced_accuracy_high: float = share(nullable=True, description=HIGH)
    f1: float = share(nullable=True, description="harmonic mean of precision and recall")
    f1_low: float = share(nullable=True, description=LOW)
    f1_high: float = share(nullable=True, description=HIGH)
    kappa: float = column(nullable=True, ge=-1.0, le=1.0, description="Cohen's kappa; 0 is agreement by chance")
    kappa_low: float = column(nullable=True, ge=-1.0, le=1.0, description=LOW)
    kappa_high: float = column(nullable=True, ge=-1.0, le=1.0, description=HIGH)
    confused_with: str = column(
        nullable=True, description="the grader's most frequent other answer for prompts of this category; null if none"
    )


class GraderAttacks(pa.DataFrameModel):
    """How far attacks move P(yes), by attack and proposition."""

    attack: str = column(description="name of the attack")
    proposition: str = column(description="name of the proposition")
    n: pl.Int32 = count(description="number of replies with a grade before and after the attack")
    n_missing: pl.Int32 = count(description="number of replies without one of the two grades")
    mean_shift: float = share(nullable=True, description="mean of the absolute difference of the two grades")
    max_shift: float = column(
        ge=-1.0, le=1.0, nullable=True, description="largest difference: grade after the attack, minus grade before"
    )


class AttackedClasses(pa.DataFrameModel):
    """How many replies change class under an attack."""

    attack: str = column(description="name of the attack")
    keeps_reply: bool = column(description="false if the attack replaces the reply, so that its class may change")
    n: pl.Int32 = count(description="number of replies whose class is known before and after the attack")
    n_missing: pl.Int32 = count(description="number of the other replies")
    n_changed: pl.Int32 = count(description="number of replies with another class after the attack")
    n_better: pl.Int32 = count(description="number of replies with a better class after the attack")
