"""A migration from here on leaves a schema on which the version before it runs, too, and makes nobody wait: a deploy
goes from machine to machine. docs/cluster.md tells how one is made."""

import re

import pytest

from leads_service.database import migrator
from leads_service.database.pool import Database

LAST_BEFORE = "0014"  # these have shipped to single machines
REFUSED = {
    r"\bDROP (COLUMN|TABLE|FUNCTION|TRIGGER)\b": "the version before uses it: it goes one release later",
    r"\bRENAME\b": "the version before knows the old name: add the new one, and drop the old one a release later",
    r"\bALTER (COLUMN )?\w+ (SET DATA )?TYPE\b": "everybody waits while the table is rewritten",
    r"\bSET NOT NULL\b": "everybody waits while the table is read, and the version before may write a null",
    r"\bADD COLUMN\b(?!.*\bDEFAULT\b).*\bNOT NULL\b": "the version before does not fill it: give it a DEFAULT",
    r"\bADD COLUMN\b.*\bDEFAULT \(?(clock_timestamp|gen_random_uuid|random)\b": "the table is rewritten",
    r"\bADD (CONSTRAINT \w+ )?(CHECK|FOREIGN KEY)\b(?!.*\bNOT VALID\b)": "everybody waits for the check: NOT VALID",
    r"\b(CREATE (UNIQUE )?INDEX|DROP INDEX) (?!CONCURRENTLY\b)": "writers wait: CONCURRENTLY",
    r"\b(TRUNCATE|LOCK TABLE|VACUUM FULL|CLUSTER)\b": "everybody waits",
}


def complaints(statements):
    """What the rules say against these statements; a table that they make themselves is nobody's yet."""
    own = {name for sql in statements for name in re.findall(r'\bCREATE TABLE (?:IF NOT EXISTS )?"?(\w+)', sql)}
    found = []
    for sql in (re.sub(r"\s+", " ", sql) for sql in statements):
        table = re.search(r'\b(?:ON|ALTER TABLE(?: ONLY)?) "?(\w+)', sql)
        if not (table and table[1] in own):
            found += [f"{sql}: {why}" for rule, why in REFUSED.items() if re.search(rule, sql, re.IGNORECASE)]
    return found


class Listening(Database):
    """A database that remembers what it was told."""

    def execute_sql(self, sql, params=None, **options):
        self.told = [*getattr(self, "told", []), sql]
        return super().execute_sql(sql, params, **options)


def test_every_migration_from_here_on_keeps_the_rules(make_database):
    own = Listening(None)
    own.configure(make_database(), connections=2, recycle=3600, statement_timeout=0)
    names = sorted(path.stem for path in migrator.DIRECTORY.glob("0*.py"))
    list(migrator.up(own, [name for name in names if name[:4] <= LAST_BEFORE][-1]))
    found = {}
    for name in (name for name in names if name[:4] > LAST_BEFORE):
        own.told = []
        list(migrator.up(own, name))
        found[name] = complaints(own.told)
    own.close_all()
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize("sql", [
    "ALTER TABLE leads DROP COLUMN city", "DROP TABLE companies", "ALTER TABLE leads RENAME city TO town",
    "ALTER TABLE leads ALTER COLUMN city TYPE TEXT", "ALTER TABLE leads ALTER city SET NOT NULL",
    "ALTER TABLE leads ADD COLUMN age INT\n    NOT NULL", "CREATE INDEX idx_leads_city ON leads (city)",
    "CREATE UNIQUE INDEX uq_leads_city ON leads (city)", "ALTER TABLE leads ADD CHECK (age > 0)",
    "ALTER TABLE leads ADD CONSTRAINT ck_leads_age CHECK (age > 0)", "TRUNCATE leads", "DROP FUNCTION leads_fold(text)",
    "ALTER TABLE leads ADD COLUMN token UUID NOT NULL DEFAULT gen_random_uuid()", "DROP INDEX idx_leads_city",
])
def test_what_the_rules_refuse(sql):
    assert complaints([sql])


@pytest.mark.parametrize("sql", [
    "ALTER TABLE leads ADD COLUMN referrer VARCHAR(100)", "ALTER TABLE leads ADD COLUMN age INT NOT NULL DEFAULT 0",
    "CREATE INDEX CONCURRENTLY idx_leads_referrer ON leads (referrer)", "CREATE TABLE visits (id UUID NOT NULL)",
    "ALTER TABLE leads ADD CONSTRAINT ck_leads_age CHECK (age > 0) NOT VALID",
    "CREATE OR REPLACE FUNCTION leads_fold(text) RETURNS text LANGUAGE sql RETURN $1",
])
def test_what_the_rules_let_pass(sql):
    assert complaints([sql]) == []


def test_a_table_of_its_own_may_be_made_as_it_comes():
    assert complaints(["CREATE TABLE visits (at DATE)", "CREATE INDEX idx_visits ON visits (at)"]) == []
