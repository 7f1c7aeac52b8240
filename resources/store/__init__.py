"""The DuckDB store: the tables and their columns, and the resource that reads and writes them."""

from resources.store.duckdb_store import Store

__all__ = ["Store"]
