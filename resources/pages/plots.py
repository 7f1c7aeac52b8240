"""Pictures on asset pages: small PNGs inside markdown.

Dagster keeps metadata in its event log, so a picture has to stay below `MAX_BYTES`.
"""

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BYTES = 100_000
RESOLUTION = 100
COLORS = 32


def weights_plot(weights: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Draws the fitted weights with their intervals, one panel per response type.

    Args:
        weights: columns response_type, feature, weight, low, high.
    """
    panels = weights.partition_by("response_type", maintain_order=True)

    def draw(figure: "Figure") -> None:
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), index + 1)
            weight, low, high = (panel[name].to_numpy() for name in ("weight", "low", "high"))
            places = range(panel.height)
            axes.barh(places, weight, color=["#2a6f97" if w >= 0 else "#bc4749" for w in weight])
            axes.hlines(places, low, high, color="black", linewidth=0.8)
            axes.set_yticks(places, panel["feature"].to_list(), fontsize=6)
            axes.invert_yaxis()
            axes.axvline(0.0, color="black", linewidth=0.5)
            axes.set_title(panel["response_type"][0], fontsize=8)

    return _picture("fitted weights", draw, width=3.4 * max(len(panels), 1), height=4.2)


def metrics_plot(evaluations: pl.DataFrame, metrics: list[str]) -> dg.MarkdownMetadataValue:
    """Draws a panel per split and judge: one group of bars per metric, one bar per variant, with intervals.

    Args:
        evaluations: columns variant, split, judge, and `<metric>`, `<metric>_low`, `<metric>_high`.
        metrics: the metrics to draw, each in [0, 1].
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

    return _picture("evaluation metrics", draw, width=9.0, height=0.4 + 2.2 * max(rows, 1))


def _grouped_bars(axes: "Axes", rows: list[dict[str, Any]], metrics: list[str]) -> None:
    width = 0.8 / max(len(rows), 1)
    for index, row in enumerate(rows):
        shown = [place for place, metric in enumerate(metrics) if row[metric] is not None]
        places = [place + (index - (len(rows) - 1) / 2) * width for place in shown]
        axes.bar(places, [row[metrics[place]] for place in shown], width, label=row["variant"])
        known = [(at, metrics[place]) for at, place in zip(places, shown, strict=True)]
        ends = [(at, row[f"{name}_low"], row[f"{name}_high"]) for at, name in known if row[f"{name}_low"] is not None]
        if ends:
            axes.vlines(*zip(*ends, strict=True), color="black", linewidth=0.7)
    axes.set_xticks(range(len(metrics)), [name.replace("_", "\n") for name in metrics], fontsize=6)
    axes.tick_params(axis="y", labelsize=6)
    axes.set_ylim(0.0, 1.05)


def curves_plot(metrics: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Draws each training metric over its steps.

    Args:
        metrics: columns step, metric, value.
    """
    curves = metrics.sort("metric", "step").partition_by("metric", maintain_order=True)

    def draw(figure: "Figure") -> None:
        columns = min(3, max(len(curves), 1))
        for index, curve in enumerate(curves):
            axes = figure.add_subplot(-(-len(curves) // columns), columns, index + 1)
            axes.plot(curve["step"].to_numpy(), curve["value"].to_numpy(), linewidth=1.0)
            axes.set_title(curve["metric"][0], fontsize=7)
            axes.tick_params(labelsize=6)

    return _picture("training curves", draw, width=8.0, height=1.8 * max(-(-len(curves) // 3), 1))


def _picture(title: str, draw: Callable[["Figure"], None], *, width: float, height: float) -> dg.MarkdownMetadataValue:
    """Render in memory, with the few colors that a plot has; halve the size until it fits the event log."""
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
