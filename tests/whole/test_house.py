"""The house keeps its order: imports run one way, rooms stay small, contract/ needs neither PostgreSQL nor HTTP."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

from real.service import ROOT

PACKAGE = ROOT / "leads_service"
MODULES = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]
FILES = [path for place in ("leads_service", "tests", "bench") for path in sorted((ROOT / place).rglob("*.py"))]
HTTP, POSTGRESQL = {"flask", "werkzeug"}, {"psycopg2", "peewee", "playhouse"}
# What each wing may import of the others; config.py and the package itself are the ground under all of them.
BELOW = {"contract": set(), "database": {"contract"}, "access": {"database", "contract"},
         "leads": {"database", "contract"}, "transfer": {"leads", "access", "database", "contract"}}
BELOW["web"] = {*BELOW, "web"}
COMMANDS = {"cli", "cli_access", "cli_errors"}
BELOW |= {f"{file}.py": {*BELOW} | COMMANDS for file in COMMANDS} | {"app.py": {*BELOW, "cli"}}


@functools.cache
def tree_of(file):
    return ast.parse((PACKAGE / file).read_text())


def imported(tree):
    """The full names of the modules that a file imports, of whatever depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "every import is written in full"
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("file", MODULES)
def test_imports_run_one_way(file):
    wing = file.split("/")[0]
    found = [name.split(".") for name in imported(tree_of(file))]
    below = {name[1] for name in found if name[0] == "leads_service" and name[1:]} - {wing, "config", "VERSION"}
    assert below <= BELOW.get(wing, set())
    libraries = {name[0] for name in found}
    assert wing in ("web", "app.py", "cli.py", "cli_access.py") or not libraries & HTTP
    assert wing != "contract" or not libraries & POSTGRESQL


def test_the_contract_runs_without_postgresql_and_http():
    names = [f"leads_service.contract.{Path(file).stem}" for file in MODULES if file.startswith("contract/")]
    absent = "; ".join(f"sys.modules[{name!r}] = None" for name in sorted(HTTP | POSTGRESQL))
    script = f"import sys; {absent}; import {', '.join(names)}"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("file", MODULES)
def test_every_module_says_what_it_is(file):
    assert ast.get_docstring(tree_of(file))


def test_no_file_is_long_and_no_folder_full():
    assert [str(path) for path in FILES if len(path.read_text().splitlines()) > 400
           ] == []
    folders = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    entries = {folder: [path for path in folder.iterdir() if path.name not in ("__init__.py", "__pycache__")]
               for folder in folders}
    assert {folder.name for folder, found in entries.items() if len(found) > 11} == set()
