#!/usr/bin/env bash
# DuckDB 2.0.0: one INSERT OR REPLACE that contains a key twice keeps the FIRST row of that key. Two statements keep the
# second row, and so does SQLite, where the syntax comes from. ON CONFLICT DO UPDATE keeps the first row, too.
# To be safe: check that the keys of the rows are unique before you insert them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check duckdb==2.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import sqlite3

import duckdb

TABLE = "CREATE TABLE labels (id INTEGER PRIMARY KEY, label VARCHAR)"
BOTH = "INSERT OR REPLACE INTO labels VALUES (1, 'first'), (1, 'second')"
ONE = "INSERT OR REPLACE INTO labels VALUES (1, '{}')"
UPSERT = "INSERT INTO labels VALUES (1, 'first'), (1, 'second') ON CONFLICT (id) DO UPDATE SET label = excluded.label"


def label(connection, *statements):
    for statement in (TABLE, *statements):
        connection.execute(statement)
    return connection.execute("SELECT label FROM labels").fetchall()


print("DuckDB", duckdb.__version__, "  SQLite", sqlite3.sqlite_version)
seen = {
    "DuckDB, one INSERT OR REPLACE": label(duckdb.connect(), BOTH),
    "DuckDB, one ON CONFLICT DO UPDATE": label(duckdb.connect(), UPSERT),
    "DuckDB, two INSERT OR REPLACE": label(duckdb.connect(), ONE.format("first"), ONE.format("second")),
    "SQLite, one INSERT OR REPLACE": label(sqlite3.connect(":memory:"), BOTH),
    "SQLite, one ON CONFLICT DO UPDATE": label(sqlite3.connect(":memory:"), UPSERT),
}
for case, rows in seen.items():
    print(f"{case:35}", rows)
assert [rows[0][0] for rows in seen.values()] == ["first", "first", "second", "second", "second"]
PYTHON
