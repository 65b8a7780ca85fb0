"""The old database as a source: roles that do not see all of it, and URLs as people have them."""

import urllib.parse

import pytest

from leads_service.transfer.opening import open_source
from leads_service.transfer.sources import SourceError
from real.postgres import sql
from real.service import flask


@pytest.fixture
def old(make_database):
    """A database with five leads, two of which row security shows to the role `seller`."""
    url = make_database()
    sql(url, "CREATE TABLE leads (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, owner text)")
    sql(url, "INSERT INTO leads (name, owner) SELECT 'x' || i, 'o' || i % 2 FROM generate_series(1, 5) AS i")
    sql(url, "ALTER TABLE leads ENABLE ROW LEVEL SECURITY")
    sql(url, "CREATE POLICY own ON leads USING (owner = 'o0')")
    if not sql(url, "SELECT 1 FROM pg_roles WHERE rolname = 'seller'"):
        sql(url, "CREATE ROLE seller LOGIN")
    sql(url, "GRANT SELECT ON leads TO seller")
    return url


@pytest.mark.parametrize("command", ["import", "verify"])
def test_a_role_that_row_security_hides_rows_from_is_an_error(old, db_url, command):
    parts = urllib.parse.urlsplit(old)
    host = parts.netloc.rpartition("@")[2]
    seller = parts._replace(netloc=f"seller:pw%23d@{host}").geturl()
    done = flask(command, seller, DATABASE_URL=db_url)
    assert (done.returncode, "Row security" in done.stderr, "seller" in done.stderr) == (1, True, True), done.stderr
    assert sql(db_url, "SELECT count(*) FROM leads") == [(0,)]
    assert flask("import", old, DATABASE_URL=db_url).stdout.startswith("5 created")


@pytest.mark.parametrize(("url", "named"), [
    ("postgresql://u:s3cret#word@h/d", "%23"), ("postgresql://u:s3[cret@h/d", "%5B"),
    ("postgresql://u:s3cret%zz@h/d", "%25"), ("postgresql://u:s3cret%@h/d", "%25"),
    ("postgresql://u:s3/cret@h/d", "%2F"), ("postgresql://u:s3?cret@h/d", "%3F"), ("postgres://u:s3@cret@h/d", "%40"),
    ("postgresql://u:s3cret@h:54x2/d", "port"), ("postgresql://u:s3cret@[::1/d", "host"),
    ("postgresql://u:s3cret@h/d?pgbouncer=true", "pgbouncer"),
    ("postgresql://u:s3cret@h/d?sslmode=require&connection_limit=1", "connection_limit"),
    ("https://s3cret.supabase.co/rest/v1/leads", "https://"), ("mysql://u:s3cret@h/d", "mysql://")])
def test_a_url_that_cannot_be_read_is_one_sentence_without_the_password(url, named, db_url):
    with pytest.raises(SourceError) as raised, open_source(url):
        pass
    for language in (str(raised.value.sentence), raised.value.sentence.english):
        assert named in language or named in ("port", "host")
        assert "s3" not in language
        assert "cret" not in language


def test_on_the_terminal_it_is_one_line(db_url):
    done = flask("import", "postgresql://u:s3cret#word@127.0.0.1/d", DATABASE_URL=db_url)
    assert (done.returncode, len(done.stderr.strip().splitlines()), "cret" in done.stderr) == (1, 1, False)
