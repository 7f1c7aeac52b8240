"""Marks that assets carry for whoever plans their runs."""

MODEL_WORK = {"rbr/compute": "model"}
"""The asset runs a model: it is what a wave spends its time on, and worth a process of its own."""

CELLS = "rbr/cells"
"""Tag of the assets that make cells: ``completions``, ``grades`` or ``scores``."""

SAMPLING = {**MODEL_WORK, CELLS: "completions"}
GRADING = {**MODEL_WORK, CELLS: "grades"}
SCORING = {**MODEL_WORK, CELLS: "scores"}

VARIANTS = ("rbr", "helpful", "human")
"""The policies that are trained and compared: the method, and the two baselines that read no rule."""
