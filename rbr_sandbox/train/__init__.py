"""Trains the shipped sandbox models and writes the shipped data. Run ``python -m rbr_sandbox.train``."""
