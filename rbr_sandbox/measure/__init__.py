"""Measures the shipped sandbox models on what no training step saw: ``python -m rbr_sandbox.measure``."""
