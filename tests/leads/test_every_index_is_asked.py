"""Every index of the leads is one that a statement of the service reads: none is lost by a text that came to differ."""

import uuid

import pytest
from werkzeug.datastructures import MultiDict

from leads_service.contract.lists import FEED_START, ListQuery, Selection, load_query
from leads_service.database import migrator
from leads_service.database.pool import Database, reads_from
from leads_service.leads.duplicates.finding import duplicates_of
from leads_service.leads.figures.stats import figures
from leads_service.leads.pages import page
from leads_service.leads.past.changes import changes_after
from leads_service.leads.past.history import deleted_leads
from leads_service.leads.search import search_condition
from real.postgres import connected, sql

COMPANY = uuid.UUID("00000000-0000-4000-8000-0000000000d1")
FILL = f"""
    INSERT INTO companies (id, name) VALUES ('{COMPANY}', 'Ours');
    INSERT INTO leads (name, email, phone, company, status, stage, owner, source, city, segment, tags, interest_level,
                       company_id, notes, created_at, updated_at)
    SELECT (ARRAY['Zoé ', 'Émile ', 'Iwo ', 'Анна ', 'A#'])[1 + n % 5] || n, n || '@x.fr', '+336' || n,
           'Co ' || n % 300,
           CASE WHEN n < 900 THEN 'archived' ELSE 'active' END, CASE WHEN n < 900 THEN 'won' ELSE 'new' END,
           'owner ' || n % 50, 'source ' || n % 50, 'city ' || n % 200, 'segment ' || n % 200,
           ARRAY['tag ' || n % 100], n % 101, CASE n % 40 WHEN 0 THEN '{COMPANY}'::uuid END,
           jsonb_build_object('next_step_date', CASE n % 8 WHEN 0 THEN date '2026-01-01' + n % 300 END),
           '2024-01-01'::timestamptz + make_interval(hours => n), '2025-01-01'::timestamptz + make_interval(mins => n)
    FROM generate_series(1, 4500) AS n;
    DELETE FROM leads WHERE created_at > '2024-01-01'::timestamptz + interval '4000 hours'"""
# Index → the list that reads it, as its query string, or a statement as the service runs it.
ASKED = {
    "idx_leads_created_at": "",
    "idx_leads_updated_at": "sort=-updated_at",
    "idx_leads_name_key": "sort=name",
    "idx_leads_interest_level": "sort=interest_level&created_from=2024-02-01",
    "idx_leads_step": "sort=next_step&created_from=2024-02-01",
    "idx_leads_stage": "stage=won",
    "idx_leads_source": "source=source 7&created_to=2024-03-01",
    "idx_leads_status_span": "status=archived",
    "idx_leads_owner_span": "owner=owner 7",
    "idx_leads_company_span": "company_id",  # a caller of this company
    "idx_leads_city": "city=city 7&sort=relevance&q=zoé",
    "idx_leads_segment": "segment=segment 7&sort=relevance&q=zoé",
    "idx_leads_company": "company=Co 7&sort=relevance&q=zoé",
    "idx_leads_tags": "tag=tag 7&sort=relevance&q=zoé",
    "idx_leads_text_trgm": "q=mile",
    "idx_leads_text_rare": "q=%23",
    "idx_leads_text_foreign": "q=an",
    "idx_leads_unsearched": "q=mile",
    "idx_leads_client_id": "DELETE FROM leads WHERE client_id = gen_random_uuid()",  # what deleting a client runs
    "uq_leads_email_lower": "SELECT id FROM leads WHERE lower(email) = lower('7@x.fr')",
    "leads_pkey": "SELECT FROM leads WHERE id = gen_random_uuid()",
    "leads_history_pkey": f"SELECT FROM leads_history WHERE lead_id = '{COMPANY}' ORDER BY number DESC LIMIT 1",
    "idx_leads_history_feed": FEED_START,  # the feed from there on
    "idx_leads_history_run": f"SELECT DISTINCT lead_id FROM leads_history WHERE run = '{COMPANY}' ORDER BY lead_id",
    "idx_leads_history_deleted": None,  # all deleted leads
    "idx_leads_history_deleted_company": COMPANY,  # those of this company
}
DUPLICATES = "idx_leads_duplicate_keys"  # what duplicates are found by
# Index → whose figures read it.
OF_FIGURES = {"idx_leads_sums": ("source", None), "idx_leads_sums_owner": ("owner", None),
              "idx_leads_sums_month": ("month", None), "idx_leads_unkept": ("stage", None),
              "idx_leads_history_stage": ("stage", None), "idx_leads_history_converted": ("stage", None),
              "idx_leads_history_came": ("stage", COMPANY)}
PROMISED = {"idx_leads_source_created"}  # to others who read the table; the service has idx_leads_source


class Explaining(Database):
    """A pool that asks PostgreSQL how it would run each statement before it runs it."""

    def __init__(self):
        super().__init__(None)
        self.plans = []

    def execute_again(self, sql, params=None, **kwargs):
        return self.execute_sql(sql, params, **kwargs)

    def execute_sql(self, sql, params=None, **kwargs):
        if sql.lstrip().startswith(("SELECT", "WITH", "DELETE")):
            self.plans.append("\n".join(line for (line,) in super().execute_sql(f"EXPLAIN {sql}", params)))
        return super().execute_sql(sql, params, **kwargs)


@pytest.fixture(scope="module")
def filled_url(make_database):
    url = make_database()
    with connected(url) as own:
        list(migrator.up(own))
    sql(url, FILL)
    sql(url, "VACUUM ANALYZE leads")
    sql(url, "VACUUM ANALYZE leads_history")  # else it is chance which of two empty indexes is taken
    return url


@pytest.fixture(scope="module")
def pool(filled_url):
    own = Explaining()
    own.configure(filled_url, connections=1, recycle=3600, statement_timeout=0)
    yield own
    own.close_all()


@pytest.fixture
def explaining(pool):
    """What statements that read ask: a pool that keeps their plans."""
    pool.execute_sql("RESET ALL; SET enable_seqscan = off; SET enable_sort = off")
    pool.plans.clear()
    token = reads_from.set(pool)
    try:
        yield pool
    finally:
        reads_from.reset(token)


@pytest.mark.parametrize(("index", "asked"), ASKED.items())
def test_every_index_is_asked(explaining, index, asked):
    own = explaining
    if asked in (None, COMPANY):
        deleted_leads(asked, 9, None)
    elif asked == FEED_START:
        changes_after(asked, Selection((), None), "+33", None, 9)  # whatever other tests' transactions hold back
    elif asked.startswith(("SELECT", "DELETE")):
        own.execute_sql(asked)
    else:
        pairs = [pair.split("=") for pair in asked.replace("%23", "#").split("&") if "=" in pair]
        page(load_query(ListQuery(), MultiDict(pairs)), "+33", COMPANY if asked == "company_id" else None)
    plans = [plan for plan in own.plans if f" {index} " in plan]
    assert plans, own.plans
    # An order is read from its index; at most the rows of one span are put in order (an incremental sort). The feed
    # sorts the fields of a lead.
    assert "q=" in str(asked) or asked == FEED_START or not any("->  Sort " in plan for plan in plans), plans


@pytest.mark.parametrize(("index", "asked"), OF_FIGURES.items())
def test_the_figures_ask_their_indexes(explaining, index, asked):
    by, company = asked
    explaining.execute_sql("SET enable_bitmapscan = off; SET enable_hashagg = off")  # few leads are read as they lie
    figures(by, Selection((), None), "+33", company)
    assert any(f" {index} " in plan for plan in explaining.plans), explaining.plans


def test_duplicates_are_found_by_their_index(explaining, filled_url):
    look = f"SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '{DUPLICATES}'"
    before = sql(filled_url, look)[0][0]
    lead_id, = explaining.execute_sql("SELECT id FROM leads LIMIT 1").fetchone()
    duplicates_of(lead_id, None)
    explaining.execute_sql("SELECT pg_stat_force_next_flush()")
    assert sql(filled_url, look)[0][0] > before


def test_no_index_is_unheard_of(filled_url):
    found = {name for (name,) in sql(filled_url, "SELECT indexrelid::regclass::text FROM pg_index "
                                                 "WHERE indrelid IN ('leads'::regclass, 'leads_history'::regclass)")}
    assert found == ASKED.keys() | OF_FIGURES.keys() | PROMISED | {DUPLICATES}


def test_a_search_of_some_time_asks_two_indexes_at_once(explaining):
    explaining.execute_sql("SET enable_indexscan = off; SET cpu_tuple_cost = 10")  # reading leads is dear
    condition, parameters = search_condition("Émile", "+33")
    explaining.execute_sql(f"SELECT FROM leads WHERE {condition} AND created_at >= '2024-05-01'", parameters)
    assert "BitmapAnd" in explaining.plans[-1]


def test_a_company_s_figures_ask_no_index_of_all_leads(explaining):
    figures("owner", Selection((("next_step", "overdue"),), None), "+33", COMPANY)
    asked = set(" ".join(explaining.plans).split())
    assert "idx_leads_company_span" in asked
    assert not {"idx_leads_step", "idx_leads_sums", "idx_leads_sums_owner", "idx_leads_sums_month"} & asked
