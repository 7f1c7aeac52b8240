"""Evaluation of trained policies: metrics with intervals, judges, replay of stored grades, and the safety report.

Importing this package does not import torch.
"""

from rbr.evaluation.estimates import METRIC_NAMES, Evaluation, MetricEstimate
from rbr.evaluation.html_report import ReportContent, render_report
from rbr.evaluation.judges import Judge, open_judge
from rbr.evaluation.metrics import evaluate, evaluate_groups
from rbr.evaluation.replay import ReplayInput, ReplayResult, count_pair_changes, reclassified_replies

__all__ = [
    "METRIC_NAMES",
    "Evaluation",
    "Judge",
    "MetricEstimate",
    "ReplayInput",
    "ReplayResult",
    "ReportContent",
    "count_pair_changes",
    "evaluate",
    "evaluate_groups",
    "open_judge",
    "reclassified_replies",
    "render_report",
]
