"""The columns of the stored table about categories: type, range and meaning. See `schemas`."""

import pandera.polars as pa
import polars as pl

from resources.store.columns import HIGH, LOW, column, count, share


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
