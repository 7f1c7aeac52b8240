"""The training process: started with a job file, writes a checkpoint, knows neither Dagster nor the store."""
