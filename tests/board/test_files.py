"""What the board is made of: small, our own or as it was published, and from nowhere else."""

import gzip
import hashlib
import re

from real.service import ROOT

FOLDER = ROOT / "leads_service" / "web" / "pages" / "board"
FILES = [path for path in sorted(FOLDER.rglob("*")) if path.suffix in (".html", ".css", ".js", ".mjs", ".svg")]
# Names of languages, which no browser loads.
NAMESPACES = r"http://www\.w3\.org/(2000/svg|1999/xhtml|1999/xlink|1998/Math/MathML)\b"


def test_others_files_are_as_they_were_published():
    told = (FOLDER / "vendor" / "README.md").read_text()
    sums = dict(re.findall(r"`([\w.-]+)`.*`([0-9a-f]{64})`", told))
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FILES
                    if path.parent.name == "vendor"}
    for name in sums:
        assert (FOLDER / "vendor" / f"LICENSE-{name.removesuffix('.mjs')}").stat().st_size > 500
    assert len(sums) >= 2


def test_nothing_is_loaded_from_another_address():
    assert len(FILES) > 5
    for path in FILES:
        text = re.sub(NAMESPACES, "", path.read_text())
        assert not re.search(r"\b(https?|wss?)://|[\"'(]//\w|@import", text), path


def test_nothing_makes_code_of_text():
    for path in FILES:
        assert not re.search(r"\beval\(|new Function\(|innerHTML\s*=|document\.write", path.read_text()) or (
            path.parent.name == "vendor"), path


def test_all_of_it_weighs_less_than_60_kb():
    # As nginx compresses it, file by file.
    assert sum(len(gzip.compress(path.read_bytes(), 1)) for path in FILES) < 60_000
