"""README.md and docs/ say what is so, and all of it."""

import ast
import importlib
import json
import os
import pkgutil
import re
import shlex
import urllib.parse

import click
import pytest
from prometheus_client.metrics import MetricWrapperBase

import leads_service
from leads_service import cli, config
from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.lists import ListQuery
from leads_service.contract.problems import PROBLEMS
from leads_service.contract.vocabulary import ACCEPTED_STAGES, ACCEPTED_STATUSES, Pipeline, pipeline_of, stage_of
from leads_service.web.description.openapi import described_rules, documented_path
from real.postgres import sql
from real.service import ROOT

TOP = ROOT / "README.md", ROOT / "CHANGELOG.md"
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in
         (*TOP, *sorted((ROOT / "docs").glob("*.md")))}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`([^`\n]+)`")


def rows(page, heading):
    """The cells of each row of the table of `page` that has this heading, as they are written."""
    _, found, table = PAGES[page].partition(f"\n| {heading} |\n")
    assert found, f"{page} has no table of {heading}"
    lines = [line for line in table.split("\n\n")[0].splitlines()[1:] if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def anchor(heading):
    """The #anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def prose(text):
    """A page without its fenced blocks."""
    return FENCED.sub("", text)


def test_every_setting_has_its_default():
    documented = {QUOTED.match(name)[1]: default for name, default, _ in
                  rows("docs/settings.md", "name | default | meaning")}
    assert documented.keys() == config.SettingsSchema().fields.keys()
    defaults, wrong = config.load({}), {}
    for name, default in documented.items():
        if default == "unset":
            right = config.SettingsSchema().fields[name].load_default in (None, ())
        else:
            value = str(config.CORES) if default == "one a core" else QUOTED.fullmatch(default)[1]
            right = value and config.load({name: value}) == defaults
        if not right:
            wrong[name] = default
    assert wrong == {}


def test_every_route_is_in_the_table(app):
    routes = {f"{method} {documented_path(rule)}" for rule in described_rules(app)
              for method in rule.methods - {"HEAD", "OPTIONS"}}
    # With or without a slash at the end is the same route.
    documented = [re.sub(r"(?<=\w)/$", "", route) for cells in rows("docs/api.md", "route | answer")
                  for route in QUOTED.findall(cells[0])]
    assert sorted(documented) == sorted(routes)


def test_every_code_is_in_the_table_with_its_status():
    documented = [(int(status), QUOTED.match(code)[1]) for status, code, _ in
                  rows("docs/api.md", "status | code | when")]
    assert sorted(documented) == sorted((kind.status, code) for code, kind in PROBLEMS.items())


def test_every_field_is_told_in_its_order():
    told = PAGES["docs/api.md"].partition("\n## Fields\n")[2].partition("\n\n- ")[0]
    assert tuple(QUOTED.findall(told)) == LEAD_COLUMNS
    assert f"these {len(LEAD_COLUMNS)} fields" in told


def test_every_list_parameter_is_in_the_table():
    documented = [name for names, _ in rows("docs/api.md", "parameter | meaning") for name in QUOTED.findall(names)]
    assert sorted(documented) == sorted(ListQuery().fields)


def test_every_word_is_in_the_tables_with_its_meaning():
    statuses = {word: Pipeline(status, None if stage == "unchanged" else stage) for words, status, stage in
                rows("docs/api.md", "word in `status` | status | stage") for word in words.split(", ")}
    assert statuses == {word: pipeline_of(word) for word in ACCEPTED_STATUSES.split(", ")}
    stages = {word: stage for words, stage in rows("docs/api.md", "word in `stage` | stage")
              for word in words.split(", ")}
    assert stages == {word: stage_of(word) for word in ACCEPTED_STAGES.split(", ")}


def test_every_metric_is_in_the_table_with_its_labels():
    for module in pkgutil.walk_packages(leads_service.__path__, "leads_service."):
        importlib.import_module(module.name)
    metrics = {}
    for name, module in list(importlib.sys.modules.items()):
        if name.startswith("leads_service."):
            for found in vars(module).values():
                if isinstance(found, MetricWrapperBase):
                    kind = next(iter(found.describe()))
                    metrics[kind.name + "_total" * (kind.type == "counter")] = set(found._labelnames)
    documented = {name: set(QUOTED.findall(labels)) for names, labels, _ in
                  rows("docs/watching.md", "metric | labels | meaning") for name in QUOTED.findall(names)}
    assert documented == metrics
    told = re.findall(r"\bleads_\w+(?:_total|_bucket|_seconds|_in_use|_max)\b", PAGES["docs/watching.md"])
    assert {name.removesuffix("_bucket") for name in told} == metrics.keys()


def commands(group=cli.leads, words=()):
    """The command behind each sequence of words, such as ("key", "list")."""
    if not isinstance(group, click.Group):
        return {words: group}
    return {name: command for word, inner in group.commands.items()
            for name, command in commands(inner, (*words, word)).items()}


def told_commands(text, tree):
    """(words, options, choices by option) of each `flask leads …` of `text`, whose words the tree has."""
    for line in re.findall(r"\bflask leads ((?:[^`\n\\#]|\\\n)+)", text):
        words = line.split()
        name = next((tuple(words[:length]) for length in (2, 1) if tuple(words[:length]) in tree), None)
        assert name or tuple(words[:1]) in {each[:1] for each in tree} or words[0] == "…", f"flask leads {line}"
        if name:
            choices = dict(re.findall(r"(--[\w-]+) (\w+(?:\|\w+)+)", line))
            yield name, set(re.findall(r"--[a-z][\w-]*", line)), choices


def test_every_command_is_told_with_its_options():
    tree = commands()
    options = {name: {option: each for each in command.params for option in each.opts if option.startswith("--")}
               for name, command in tree.items()}
    synopses = {}
    for text in PAGES.values():
        for name, told, _ in told_commands(prose(text), tree):
            assert told <= options[name].keys(), name
        for _, block in FENCED.findall(text):
            for name, told, choices in told_commands(block, tree):
                synopses.setdefault(name, set()).update(told)
                for option, words in choices.items():
                    assert words.split("|") == [*options[name][option].type.choices], option
    assert synopses == {name: set(found) for name, found in options.items()}


def calls(text):
    """The (words of the command, shown answer) of each `$ curl` of a page. A command goes on until its quotes end."""
    for _, block in FENCED.findall(text):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = entry.splitlines()
            for taken in range(1, len(lines) + 1):
                try:
                    words = shlex.split("\n".join(lines[:taken]))
                except ValueError:  # in the middle of a quoted text
                    continue
                yield words, "\n".join(lines[taken:])
                break


def send(api, words):
    """The answer to a curl command, without curl."""
    command, *words = words
    assert command == "curl"
    method, headers, body, address = None, {}, None, None
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-binary"):
            text = words.pop(0)
            body = (text.replace("\n", "") if word == "-d" else text).encode()
        elif word != "-s":
            assert not word.startswith("-"), f"curl {word} is not known here"
            address = word
    url = urllib.parse.urlsplit(address)
    assert f"{url.scheme}://{url.netloc}" == "http://127.0.0.1:8000"
    path = url.path + f"?{url.query}" * bool(url.query)
    return api.call(method or ("GET" if body is None else "POST"), path, raw=body, headers=headers)


def settled(text):
    """A JSON text without its blanks, and with its times put out of the way."""
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "TIME", re.sub(r"\s", "", text))


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if "$ curl" in text])
def test_the_calls_answer_what_is_shown(api, db_url, page):
    sql(db_url, "ALTER TABLE leads_history ALTER COLUMN number RESTART WITH 1")  # a page tells of changes by number
    found = list(calls(PAGES[page]))
    assert len(found) == PAGES[page].count("$ curl")
    for words, shown in found:
        answered = send(api, words).body.decode()
        for line in answered.splitlines():
            json.loads(line)
        # … stands for what is left out.
        pattern = ".*?".join(map(re.escape, settled(shown).split("…")))
        assert re.fullmatch(pattern, settled(answered)), f"{shlex.join(words)}\n{answered}"


def test_readme_shows_five_calls_and_api_md_the_others():
    assert len(list(calls(PAGES["README.md"]))) == 5
    assert len(list(calls(PAGES["docs/api.md"]))) > 15


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    anchors = {name: [anchor(heading) for heading in re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)]
               for name, text in PAGES.items()}
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[page])):
        if re.match(r"https?://", target):
            continue
        path, _, wanted = target.partition("#")
        name = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not (ROOT / name).exists() or (wanted and wanted not in anchors.get(name, [])):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("page", PAGES)
def test_paths_lead_somewhere(page):
    told = "\n".join([*QUOTED.findall(prose(PAGES[page])), *(block for _, block in FENCED.findall(PAGES[page]))])
    paths = re.findall(r"(?<![\w/.-])(?:bench|deploy|docs|leads_service|migrations|tests)/[\w./-]*\w", told)
    wings = re.findall(r"(?<![\w/.-])(?:access|contract|database|leads|transfer|web)/[\w/]+\.py", told)
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert missing + [path for path in wings if not (ROOT / "leads_service" / path).exists()] == []


def test_the_readme_is_short():
    lines = PAGES["README.md"].splitlines()
    assert len(lines) <= 200
    assert [line for line in lines if len(line) > 200] == []


def test_the_readme_names_every_page():
    listed = [re.match(r"\[(.+)\]\((.+)\)", page) for page, _ in rows("README.md", "page | for whom")]
    assert all(match[1] == match[2] for match in listed)
    assert sorted(match[1] for match in listed) == sorted(PAGES.keys() - {"README.md"})


def test_the_map_of_the_wings_is_their_own_words():
    wings = {f"`{path.parent.name}/`": ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
             for path in (ROOT / "leads_service").glob("*/__init__.py")}
    assert dict(rows("README.md", "wing | what it is")) == wings


def test_every_dependency_has_its_line():
    own, _, _ = (ROOT / "requirements.txt").read_text().partition("# What those bring along")
    pinned = re.findall(r"^([\w-]+)==", own, re.MULTILINE)
    told = re.findall(r"^- \*\*([\w-]+)\*\* ", PAGES["docs/house.md"], re.MULTILINE)
    assert len(pinned) > 10
    assert sorted(map(str.lower, pinned)) == sorted(map(str.lower, told))
