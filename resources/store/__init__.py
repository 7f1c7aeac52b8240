"""The DuckDB store: its tables, their columns, and reading and writing them."""

from resources.store.duckdb_store import Store

__all__ = ["Store"]
