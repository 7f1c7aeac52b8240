"""Renders the fitted weights of `rbr fit` as text or JSON."""

import json
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from rbr.reward.fit_result import FitResult
from rbr_dagster.fit.fitted_tables import FittedTables


def as_json(fitted: FittedTables) -> str:
    """Returns weights and certificates as a JSON object, with the same rows as the CSV files of `--output`."""
    return json.dumps(
        {
            "weights": [row for result in fitted.results for row in result.weight_rows()],
            "certificates": [
                {
                    **result.certificate_row(),
                    "n_replies": fitted.n_replies[result.response_type],
                    "missing_values": fitted.missing_values.get(result.response_type, {}),
                    "error_bar": fitted.behavior.error_rate.bar_of(result.response_type),
                    "against_signs": result.against_signs,
                }
                for result in fitted.results
            ],
            "response_types_without_replies": fitted.without_replies,
            "n_other_replies": fitted.n_other_replies,
        },
        indent=2,
    )


def as_text(fitted: FittedTables) -> RenderableType:
    """Returns one table of weights per response type, each with its counts, certificate, order and error rates."""
    parts: list[RenderableType] = []
    for result in fitted.results:
        parts += [_weights(result), *_facts(result, fitted), ""]
    parts.append("Weights are in units of R_rm, with 95 % intervals over prompts.")
    if fitted.without_replies:
        parts.append(f"No replies, so no weights: {', '.join(fitted.without_replies)}.")
    if fitted.n_other_replies:
        parts.append(f"Graded replies that are not used, because SCORES lacks them: {fitted.n_other_replies}.")
    return Group(*parts)


def _weights(result: FitResult) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column(result.response_type, no_wrap=True)
    for column in ("weight", "low", "high"):
        table.add_column(column, justify="right")
    table.add_column("sign")
    for row in result.weight_rows():
        numbers = [_signed(row[name]) for name in ("weight", "low", "high")]
        # The order of the classes constrains the free weights, too.
        sign = "" if row["sign"] == "free" else row["sign"]
        if row["feature"] in result.against_signs:
            sign += ", but the weight is against it"
        table.add_row(row["feature"], *numbers, sign)
    return table


def _signed(value: float | None) -> str:
    if value is None:
        return "-"
    # No sign for a weight that is rounded to 0.
    return f"{value:+.3f}" if abs(value) >= 0.0005 else "0.000"


def _facts(result: FitResult, fitted: FittedTables) -> Iterator[str]:
    n_replies = fitted.n_replies[result.response_type]
    yield (
        f"Replies  {n_replies}, of which {result.n_incomplete_replies} are left out"
        f"{_reasons(fitted.missing_values.get(result.response_type, {}))}"
    )
    yield f"Fit      {result.n_pairs} pairs of {result.n_prompts} prompts; {result.n_held_out} prompts are held out"
    yield f"Optimum  relative duality gap {result.gap:.1e}; {_hinge_loss(result)}"
    yield f"Order    {_order(result)}"
    yield f"Errors   {_errors(result, fitted.behavior.error_rate.bar_of(result.response_type))}"


def _hinge_loss(result: FitResult) -> str:
    if result.refit_without_constraints is None:
        return f"the hinge loss is {result.hinge_loss:.4f}"
    return f"the constraints raise the hinge loss by {result.constraint_price:.4f} to {result.hinge_loss:.4f}"


def _reasons(missing: dict[str, int]) -> str:
    if not missing:
        return ""
    reasons = [f"{name} {count}" for name, count in missing.items()]
    return f" (missing: {', '.join(reasons)})"


def _order(result: FitResult) -> str:
    if not result.gaps:
        return "there are no two classes to compare"
    smallest = min(result.gaps, key=lambda gap: gap.lead)
    better, worse = smallest.better.class_name, smallest.worse.class_name
    if smallest.lead < 0:
        return (
            f"violated: a reply of the class {worse} can get {-smallest.lead:.3f} more R_rbr than a reply of {better}"
        )
    return f"every class leads the next worse one; the smallest lead is {smallest.lead:.3f} ({better} over {worse})"


def _errors(result: FitResult, bar: float) -> str:
    errors = result.errors
    if errors.rm is None or errors.rbr is None or errors.total is None:
        return f"not measured: no held-out prompt has an ideal reply and a worse one{_left_out(errors.n_left_out)}"
    verdict = "above the bar of" if errors.total > bar else "within the bar of"
    return (
        f"R_rm {errors.rm:.1%}, R_rbr {errors.rbr:.1%}, R_rm + R_rbr {errors.total:.1%} of {errors.n_pairs} held-out "
        f"pairs; {verdict} {bar:.1%}{_left_out(errors.n_left_out)}"
    )


def _left_out(n_pairs: int) -> str:
    return f"; {n_pairs} held-out pairs are left out, because a grade or score is missing" if n_pairs else ""
