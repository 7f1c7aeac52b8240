"""Draws the training curves of all models into one picture, for the model card."""

import json
from pathlib import Path


def draw_curves(directory: Path) -> None:
    """Draws the ``*.json`` logs of a directory into its ``curves.svg``. The same logs give the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    logs = sorted(directory.glob("*.json"))
    with matplotlib.rc_context({"svg.hashsalt": "curves", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(2.2 * len(logs), 2.2), layout="constrained")
        for axis, path in zip(figure.subplots(1, len(logs), squeeze=False)[0], logs, strict=True):
            rows = json.loads(path.read_text(encoding="utf-8"))
            axis.plot([row["step"] for row in rows], [row["loss"] for row in rows], linewidth=1)
            axis.set(title=path.stem.replace("_", " "), xlabel="step", yscale="log")
        figure.savefig(directory / "curves.svg", metadata={"Date": None})
