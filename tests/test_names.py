"""Names occur once: a public class in the repository, a file name on one floor."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("rbr", "rbr_sandbox", "resources", "assets", "rbr_dagster")
ON_ANY_FLOOR = {"__init__.py", "__main__.py"}
FILES = {path.relative_to(ROOT) for floor in FLOORS for path in (ROOT / floor).rglob("*.py")}


def test_no_public_class_name_is_defined_twice() -> None:
    files = defaultdict(list)
    for file in sorted(FILES):
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files[node.name].append(str(file))
    assert {name: paths for name, paths in files.items() if len(paths) > 1} == {}


def test_no_file_name_occurs_on_two_floors() -> None:
    floors = defaultdict(set)
    for file in FILES:
        if file.name not in ON_ANY_FLOOR:
            floors[file.name].add(file.parts[0])
    assert {name: sorted(names) for name, names in floors.items() if len(names) > 1} == {}
