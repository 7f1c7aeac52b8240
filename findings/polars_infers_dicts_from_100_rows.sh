#!/usr/bin/env bash
# polars 2.1.0: a list of dicts whose 101st row has a float after 100 integers becomes an integer column. The float is
# cut, also with strict=True. A key that first appears in row 101 is dropped. Both happen without a warning.
# A dict of lists with the same numbers raises instead.
# To be safe: pass infer_schema_length=None, or a schema.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check polars==2.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import polars as pl

print("polars", pl.__version__)

scores = [1] * 100 + [0.75]
rows = [{"score": score} for score in scores]
frame = pl.DataFrame(rows, strict=True)
print("list of dicts, strict=True:      ", frame.schema, "last value", frame["score"][-1])
assert frame.schema == {"score": pl.Int64}
assert frame["score"][-1] == 0

whole = pl.DataFrame(rows, infer_schema_length=None)
print("list of dicts, whole list read:  ", whole.schema, "last value", whole["score"][-1])
assert whole["score"][-1] == 0.75

late_key = pl.DataFrame([{"score": 1}] * 100 + [{"score": 1, "reason": "late"}], strict=True)
print("list of dicts, key in row 101:   ", late_key.columns)
assert late_key.columns == ["score"]

try:
    pl.DataFrame({"score": scores})
except TypeError as error:
    print("dict of lists, the same numbers: ", str(error).splitlines()[0])
else:
    raise AssertionError("a dict of lists does not raise any more")
PYTHON
