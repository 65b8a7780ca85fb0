"""What the README says is so."""

import json
import re
import subprocess

from leads_service.config import SettingsSchema
from leads_service.contract.problems import PROBLEMS
from leads_service.web.openapi import described_rules, documented_path
from real.service import ROOT

README = (ROOT / "README.md").read_text()


def test_every_setting_is_in_the_readme():
    assert [name for name in SettingsSchema().fields if f"| `{name}` |" not in README] == []


def test_every_route_is_in_the_readme(app):
    routes = {f"`{method} {documented_path(rule)}`" for rule in described_rules(app)
              for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert {route for route in routes if route not in README} == set()


def test_every_error_code_is_in_the_readme():
    assert [code for code, kind in PROBLEMS.items() if not re.search(rf"\| {kind.status} \| `{code}` \|", README)] == []


def test_every_dependency_has_its_line_in_the_readme():
    own, _, _ = (ROOT / "requirements.txt").read_text().partition("# What those bring along")
    pinned = re.findall(r"^([\w-]+)==", own, re.MULTILINE)
    assert len(pinned) > 10
    assert [name for name in pinned if not re.search(rf"^- \*\*{name}\*\* ", README, re.MULTILINE)] == []


def test_the_calls_answer_what_the_readme_shows(api):
    calls = re.findall(r"^\$ (curl .*)\n(.*)$", README, re.MULTILINE)
    assert len(calls) > 10
    for call, shown in calls:
        command = call.replace("127.0.0.1:8000", api.address)
        answered = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
        assert _settled(answered) == _settled(shown), call


def _settled(answer):
    """The answer with its times and the ids that the server made put out of the way."""
    answer = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "TIME", answer)
    return json.loads(re.sub(r'"client_id": ?"[^"]+"', '"client_id":"ID"', answer))
