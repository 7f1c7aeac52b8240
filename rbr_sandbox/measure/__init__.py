"""Measures the shipped sandbox models on prompts that no training step used. Run ``python -m rbr_sandbox.measure``."""
