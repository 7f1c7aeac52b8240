#!/usr/bin/env bash
# DuckDB 2.0.0: after a process was killed, committed rows are in the write-ahead log (FILE.wal) until the next opening.
# If the first bytes of the log are damaged, DuckDB opens the database WITHOUT all of these rows and reports nothing. You
# would expect an error, because a damaged database file raises one.
# To be safe: compare the number of rows with what you have committed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check duckdb==2.0.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import subprocess
import sys
from pathlib import Path

import duckdb

KILLED = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE t (i INTEGER)")
connection.execute("CHECKPOINT")
for i in range(5):
    connection.execute("INSERT INTO t VALUES (?)", [i])
os._exit(0)
"""


def rows_after(name, damage):
    database = Path(sys.argv[1]) / f"{name}.duckdb"
    subprocess.run([sys.executable, "-c", KILLED, str(database)], check=True)
    log = Path(f"{database}.wal")
    log.write_bytes(damage(log.read_bytes()))
    with duckdb.connect(str(database)) as connection:
        return connection.execute("SELECT count(*) FROM t").fetchone()[0]


print("DuckDB", duckdb.__version__)
seen = {
    "intact log": rows_after("intact", lambda content: content),
    "first 16 bytes are zero": rows_after("head", lambda content: bytes(16) + content[16:]),
}
for case, rows in seen.items():
    print(f"{case:28} rows of 5: {rows}")
assert list(seen.values()) == [5, 0]
PYTHON
