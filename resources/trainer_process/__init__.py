"""The trainer process: reads a job file, trains, and writes a checkpoint. It imports neither Dagster nor the store."""
