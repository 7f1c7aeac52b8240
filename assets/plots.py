"""Pictures on asset pages: small PNGs inside markdown.

Dagster keeps metadata in its event log, so a picture has to stay below `MAX_BYTES`.
"""

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_BYTES = 100_000


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
    """Draws one group of bars per metric, one bar per row of `evaluations`, with intervals.

    Args:
        evaluations: columns variant, split, judge, and `<metric>`, `<metric>_low`, `<metric>_high`.
        metrics: the metrics to draw, each in [0, 1].
    """

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot(1, 1, 1)
        width = 0.8 / max(evaluations.height, 1)
        for index, row in enumerate(evaluations.iter_rows(named=True)):
            shown = [place for place, metric in enumerate(metrics) if row[metric] is not None]
            places = [place + (index - (evaluations.height - 1) / 2) * width for place in shown]
            axes.bar(
                places,
                [row[metrics[place]] for place in shown],
                width,
                label=f"{row['variant']} · {row['split']} · {row['judge']}",
            )
            axes.vlines(
                places,
                [row[f"{metrics[place]}_low"] for place in shown],
                [row[f"{metrics[place]}_high"] for place in shown],
                color="black",
                linewidth=0.7,
            )
        axes.set_xticks(range(len(metrics)), metrics, fontsize=7)
        axes.set_ylim(0.0, 1.05)
        axes.legend(fontsize=6)

    return _picture("evaluation metrics", draw, width=8.0, height=3.6)


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
    """Render in memory; halve the resolution until the picture fits the event log."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    resolution = 110.0
    while True:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=resolution)
        encoded = base64.b64encode(buffer.getvalue()).decode()
        if len(encoded) < MAX_BYTES:
            return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")
        resolution /= 2
