"""Decides the class of a reply from its grades, and computes the features of its reward."""
