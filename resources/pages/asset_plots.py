"""Plots on asset pages: small PNGs inside markdown.

Dagster stores metadata in its event log, so a plot must be smaller than `MAX_BYTES`.
"""

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl

from rbr.rulebook import Behavior
from rbr.rulebook.parts import SIGN_VALUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BYTES = 100_000
RESOLUTION = 100  # dots per inch
COLORS = 32

_BY_RULES, _AGAINST_RULES, _FREE = "#2a6f97", "#bc4749", "#8d99a6"
# Best to worst, and also distinct for people who do not see red and green.
_CLASS_COLORS = ("#0072b2", "#56b4e9", "#f0a30a", "#8d99a6", "#d55e00")


def weights_plot(weights: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Plots the fitted weights with their intervals, one panel per response type.

    A bar is red if the weight is against the rules: it pays for an undesired proposition, or costs for a desired one.
    Bars of free features, such as the classes, are gray.

    Args:
        weights: Columns response_type, feature, sign, weight, low and high (ends of the interval).
    """
    panels = weights.partition_by("response_type", maintain_order=True)

    def draw(figure: "Figure") -> None:
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), index + 1)
            weight, low, high = (panel[name].to_numpy() for name in ("weight", "low", "high"))
            positions = range(panel.height)
            colors = [_bar_color(sign, value) for sign, value in panel.select("sign", "weight").iter_rows()]
            axes.barh(positions, weight, color=colors)
            axes.hlines(positions, low, high, color="black", linewidth=0.8)
            axes.set_yticks(positions, panel["feature"].to_list(), fontsize=6)
            axes.invert_yaxis()
            axes.axvline(0.0, color="black", linewidth=0.5)
            axes.set_title(panel["response_type"][0], fontsize=8)

    return _render("fitted weights", draw, width=3.4 * max(len(panels), 1), height=4.2)


def _bar_color(sign: str, weight: float) -> str:
    if sign == "free":
        return _FREE
    return _AGAINST_RULES if weight * SIGN_VALUES[sign] < 0 else _BY_RULES


def reward_histograms(replies: pl.DataFrame, behavior: Behavior) -> dg.MarkdownMetadataValue:
    """Plots how much reward the replies of each class get, compared with the ideal replies to the same prompt.

    One row per response type, and one panel each for R_rm, R_rbr and R_tot. The rewards are centered on the mean of the
    prompt's replies of the best class, so a good reward puts every other class to the left of 0.

    Args:
        replies: Columns prompt_id, response_type, class_name, r_rm, r_rbr and r_tot. Replies without a class or reward,
            and replies to prompts without a reply of the best class, are left out.
        behavior: The behavior policy; it orders the classes.
    """
    rewards = ("r_rm", "r_rbr", "r_tot")
    usable = replies.drop_nulls(["class_name", *rewards])
    parts = []
    for response_type in behavior.response_types:
        classes = behavior.class_names(response_type)
        rows = usable.filter(pl.col("response_type") == response_type)
        is_best = pl.col("class_name") == classes[0]
        centered = rows.with_columns(
            (pl.col(name) - pl.col(name).filter(is_best).mean().over("prompt_id")).alias(name) for name in rewards
        ).drop_nulls(rewards)
        if not centered.is_empty():
            parts.append((response_type, classes, centered))

    def draw(figure: "Figure") -> None:
        for row, (response_type, classes, centered) in enumerate(parts):
            for column, name in enumerate(rewards):
                axes = figure.add_subplot(len(parts), len(rewards), row * len(rewards) + column + 1)
                values = centered[name].to_numpy()
                bins = np.linspace(min(-1.0, values.min()), max(1.0, values.max()), 40)
                for index, class_name in enumerate(classes):
                    of_class = centered.filter(pl.col("class_name") == class_name)[name].to_numpy()
                    color = _CLASS_COLORS[index % len(_CLASS_COLORS)]
                    label = class_name if column == 0 else None
                    axes.hist(of_class, bins, color=color, alpha=0.6, label=label)
                axes.axvline(0.0, color="black", linewidth=0.5)
                axes.set_title(f"{response_type}: {name.replace('r_', 'R_')}", fontsize=7)
                axes.tick_params(labelsize=6)
                if column == 0:
                    axes.legend(fontsize=5)

    return _render("rewards by class", draw, width=9.0, height=1.9 * max(len(parts), 1))


def metrics_plot(evaluations: pl.DataFrame, metrics: list[str]) -> dg.MarkdownMetadataValue:
    """Plots the metrics: one panel per split and judge, one group of bars per metric, one bar per variant.

    Args:
        evaluations: Columns variant, split, judge, and for each metric `<metric>`, `<metric>_low`, `<metric>_high`.
        metrics: Names of the metrics to plot, each in [0, 1]; a null value has no bar.
    """
    panels = evaluations.sort("split", "judge", "variant").partition_by("split", "judge", maintain_order=True)
    columns = 2 if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)

    def draw(figure: "Figure") -> None:
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(max(rows, 1), columns, index + 1)
            _grouped_bars(axes, panel.to_dicts(), metrics)
            axes.set_title(f"{panel['split'][0]}, judged by the {panel['judge'][0]}", fontsize=8)
            if index == 0:
                figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7)

    return _render("evaluation metrics", draw, width=9.0, height=0.4 + 2.2 * max(rows, 1))


def _grouped_bars(axes: "Axes", rows: list[dict[str, Any]], metrics: list[str]) -> None:
    width = 0.8 / max(len(rows), 1)
    for index, row in enumerate(rows):
        # Shift the bars of this row (a variant), so that each group is centered on its metric.
        shift = (index - (len(rows) - 1) / 2) * width
        bars = [(group + shift, metric) for group, metric in enumerate(metrics) if row[metric] is not None]
        axes.bar([x for x, _ in bars], [row[metric] for _, metric in bars], width, label=row["variant"])
        intervals = [(x, row[f"{metric}_low"], row[f"{metric}_high"]) for x, metric in bars]
        known = [(x, low, high) for x, low, high in intervals if low is not None]
        if known:
            axes.vlines(*zip(*known, strict=True), color="black", linewidth=0.7)
    axes.set_xticks(range(len(metrics)), [name.replace("_", "\n") for name in metrics], fontsize=6)
    axes.tick_params(axis="y", labelsize=6)
    axes.set_ylim(0.0, 1.05)


def reliability_plot(bins: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Plots the share of yes labels over the mean P(yes), by bin: one panel for all propositions and one for each.

    The number beside a point counts the labels of the bin. The line at a point is the 95 % interval. If all
    probabilities are right, the points lie on the diagonal.

    Args:
        bins: From `rbr.agreement.reliability.bins_by_proposition`.
    """
    panels = bins.partition_by("proposition", maintain_order=True)
    columns = min(5, max(len(panels), 1))
    rows = -(-len(panels) // columns)

    def draw(figure: "Figure") -> None:
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.plot([0.0, 1.0], [0.0, 1.0], color=_FREE, linewidth=0.6)
            axes.vlines(*(panel[name] for name in ("mean_p_yes", "share_yes_low", "share_yes_high")), linewidth=0.8)
            axes.plot(panel["mean_p_yes"], panel["share_yes"], "o", color=_BY_RULES, markersize=3)
            for x, y, n in panel.select("mean_p_yes", "share_yes", "n").iter_rows():
                axes.annotate(str(n), (x, y), xytext=(3, -7 if y > 0.5 else 3), textcoords="offset points", fontsize=5)
            axes.set_xlim(-0.05, 1.15)
            axes.set_ylim(-0.05, 1.1)
            axes.tick_params(labelsize=5)
            axes.set_title(panel["proposition"][0].replace("_", " "), fontsize=5.5)
        figure.supxlabel("mean P(yes)", fontsize=7)
        figure.supylabel("share of labels that say yes", fontsize=7)

    return _render("reliability", draw, width=9.0, height=0.4 + 1.7 * max(rows, 1))


def curves_plot(metrics: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Plots each training metric over the steps.

    Args:
        metrics: Columns step, metric, value.
    """
    curves = metrics.sort("metric", "step").partition_by("metric", maintain_order=True)

    def draw(figure: "Figure") -> None:
        columns = min(3, max(len(curves), 1))
        for index, curve in enumerate(curves):
            axes = figure.add_subplot(-(-len(curves) // columns), columns, index + 1)
            axes.plot(curve["step"].to_numpy(), curve["value"].to_numpy(), linewidth=1.0)
            axes.set_title(curve["metric"][0], fontsize=7)
            axes.tick_params(labelsize=6)

    return _render("training curves", draw, width=8.0, height=1.8 * max(-(-len(curves) // 3), 1))


def _render(title: str, draw: Callable[["Figure"], None], *, width: float, height: float) -> dg.MarkdownMetadataValue:
    """Renders a plot in memory with few colors, and halves the size until the plot fits into the event log."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(width, height), dpi=RESOLUTION, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    draw(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    while True:
        buffer = io.BytesIO()
        image.quantize(COLORS).save(buffer, format="png", optimize=True)
        encoded = base64.b64encode(buffer.getvalue()).decode()
        if len(encoded) < MAX_BYTES:
            return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")
        image = image.reduce(2)
