"""Reads the YAML and JSON Lines files of a user, and reports every problem with file, line and key."""
