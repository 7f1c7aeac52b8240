"""Solves the convex problem behind weight fitting: a hinge regression over pairs of replies, under constraints."""
