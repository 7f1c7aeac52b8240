"""The Dagster resources, and the objects that assets pass to them and get from them."""
