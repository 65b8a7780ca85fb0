"""Settings: what is accepted, and how a bad one is told."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from leads_service import config

ERP = "https://erp.example.com"
BAD = [
    ("DATABASE_URL", "mysql://lea:s3cret@db/leads"),
    ("DATABASE_URL", "s3cret"),
    ("DATABASE_URL", "postgresql://lea:s3cret@[::1/leads"),
    ("DATABASE_URL", "postgresql://lea:s3cret@db/leads?no_such_option=s3cret"),
    ("LEADS_REPLICA_URL", "mysql://lea:s3cret@db/leads"),
    ("LEADS_BIND", "8000"),
    ("LEADS_BIND", "127.0.0.1"),
    ("LEADS_BIND", "127.0.0.1:70000"),
    ("LEADS_BIND", "http://127.0.0.1:8000"),
    ("LEADS_BIND", "127.0.0.1:8000\n"),
    ("ALLOWED_ORIGINS", "*"),
    ("ALLOWED_ORIGINS", f"{ERP}/app"),
    ("ALLOWED_ORIGINS", f"{ERP}/"),
    ("ALLOWED_ORIGINS", "erp.example.com"),
    ("ALLOWED_ORIGINS", f"{ERP}, null"),
    ("WEB_CONCURRENCY", "0"),
    ("WEB_CONCURRENCY", "x"),
    ("WEB_CONCURRENCY", "1.5"),
    ("LEADS_THREADS", "0"),
    ("LEADS_THREADS", "many"),
    ("LEADS_MAX_BODY", "10MB"),
    ("LEADS_MAX_BODY", "-1"),
    ("LEADS_PHONE_PREFIX", "33"),
    ("LEADS_PHONE_PREFIX", "+0"),
    ("LEADS_TIME_ZONE", "Paris"),
    ("LEADS_TIME_ZONE", "Europe"),
    ("LEADS_TIME_ZONE", "../Europe/Paris"),
    ("LEADS_TIME_ZONE", "+01:00"),
    ("LEADS_STATEMENT_TIMEOUT", "0"),
    ("LEADS_STATEMENT_TIMEOUT", "nan"),
    ("LEADS_STATEMENT_TIMEOUT", "15s"),
    ("LEADS_POOL_RECYCLE", "-1"),
    ("LEADS_POOL_RECYCLE", "inf"),
    ("LEADS_SLOW_QUERY", "-1"),
    ("LEADS_SLOW_QUERY", "never"),
    ("LEADS_LOG_FORMAT", "xml"),
    ("LEADS_AUTH", "key"),
    ("LEADS_AUTH", "none,keys"),
    ("LEADS_AUTH", "keys,"),
    ("LEADS_AUTH", "jwt"),  # by which key?
    ("LEADS_ALLOW_OPEN", "yes"),
    ("LEADS_JWT_SECRET", "s3cret"),
    ("LEADS_JWT_SECRET", "s3cret" * 6),  # without LEADS_AUTH it would be ignored
    ("LEADS_JWKS_URL", "http://erp.example.com/jwks.json"),
    ("LEADS_JWKS_URL", "https://"),
    ("LEADS_JWKS_URL", "file:///etc/jwks.json"),
    ("LEADS_JWKS_URL", "http://127.0.0.1.example.com/"),
    ("LEADS_JWT_ROLE_CLAIM", "user_metadata.role"),
    ("LEADS_JWT_COMPANY_CLAIM", "user_metadata.company_id"),
    ("LEADS_JWT_COMPANY_REQUIRED", "true"),
    ("LEADS_TRUSTED_PROXIES", "-1"),
    ("LEADS_TRUSTED_PROXIES", "127.0.0.1"),
    ("LEADS_RLS", "on"),
]


def is_one_sentence_about(name, text):
    return text.startswith(f"{name} ") and text.endswith(".") and not text.endswith("..") and "\n" not in text


def test_every_setting_has_a_default():
    settings = config.load({})
    assert settings == config.Settings(
        database_url=None, replica_url=None, data_dir=Path("var").resolve(), bind="127.0.0.1:8000", allowed_origins=(),
        workers=config.CORES, threads=16, connections=6,
        max_body=10485760, phone_prefix="+33", time_zone=ZoneInfo("Europe/Paris"),
        statement_timeout=settings.statement_timeout, pool_recycle=settings.pool_recycle, slow_query=1.0,
        log_format="text", auth=(),
        allow_open=False, jwt_secret=None, jwks_url=None, jwt_issuer=None, jwt_audience=None,
        jwt_role_claim="app_metadata.role", jwt_company_claim="app_metadata.company_id", jwt_company_required=False,
        trusted_proxies=0, rls=False)


@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_means_unset(blank):
    names = {name for name, _ in BAD} | {"LEADS_DATA_DIR"}
    assert config.load(dict.fromkeys(names, blank)) == config.load({})


def test_values_are_read():
    settings = config.load({
        "DATABASE_URL": "postgresql://db/leads", "LEADS_REPLICA_URL": "postgres://db2/leads",
        "LEADS_DATA_DIR": "/srv/leads", "LEADS_BIND": "unix:/run/leads.sock",
        "ALLOWED_ORIGINS": f" {ERP} ,http://localhost:3000,", "WEB_CONCURRENCY": "3", "LEADS_THREADS": "5",
        "LEADS_CONNECTIONS": "6",
        "LEADS_MAX_BODY": "2048", "LEADS_PHONE_PREFIX": "+32", "LEADS_TIME_ZONE": "America/Cayenne",
        "LEADS_STATEMENT_TIMEOUT": "0.5",
        "LEADS_POOL_RECYCLE": "60", "LEADS_SLOW_QUERY": "0.2", "LEADS_LOG_FORMAT": "json", "LEADS_AUTH": "keys, jwt",
        "LEADS_ALLOW_OPEN": "1",
        "LEADS_JWT_SECRET": "é" * 16, "LEADS_JWKS_URL": "https://id.example.com/jwks", "LEADS_JWT_ISSUER": "id",
        "LEADS_JWT_AUDIENCE": "leads", "LEADS_JWT_ROLE_CLAIM": "role", "LEADS_JWT_COMPANY_CLAIM": "company",
        "LEADS_JWT_COMPANY_REQUIRED": "1", "LEADS_TRUSTED_PROXIES": "2", "LEADS_RLS": "1",
        "HOME": "/root"})
    assert settings == config.Settings(
        database_url="postgresql://db/leads", replica_url="postgresql://db2/leads",
        data_dir=Path("/srv/leads"), bind="unix:/run/leads.sock",
        allowed_origins=(ERP, "http://localhost:3000"), workers=3, threads=5, connections=6,
        max_body=2048, phone_prefix="+32", time_zone=ZoneInfo("America/Cayenne"),
        statement_timeout=0.5, pool_recycle=60.0, slow_query=0.2, log_format="json", auth=("keys", "jwt"),
        allow_open=True,
        jwt_secret="é" * 16, jwks_url="https://id.example.com/jwks", jwt_issuer="id", jwt_audience="leads",
        jwt_role_claim="role", jwt_company_claim="company", jwt_company_required=True, trusted_proxies=2, rls=True)
    assert "é" not in repr(settings)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_three_spellings_of_a_url_are_the_same(scheme):
    settings = config.load({"DATABASE_URL": f"{scheme}://lea:p%40ss@db:5433/leads?sslmode=require"})
    assert settings.database_url == "postgresql://lea:p%40ss@db:5433/leads?sslmode=require"


@pytest.mark.parametrize("url", [
    "postgresql://lea@db1:5432,db2:5433/leads?target_session_attrs=read-write",
    "postgresql://lea@/leads?host=/run/db1,/run/db2&target_session_attrs=read-write",
])
def test_a_url_may_name_several_servers(url):
    assert config.load({"DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize("bind", ["0.0.0.0:80", ":8000", "[::1]:8000", "leads.example.com:8000", "127.0.0.1:65535"])
def test_good_addresses_are_accepted(bind):
    assert config.load({"LEADS_BIND": bind}).bind == bind


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_told_in_one_sentence(name, value):
    with pytest.raises(config.SettingsError) as caught:
        config.load({name: value})
    assert is_one_sentence_about(name, str(caught.value))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("lacking", ["LEADS_JWT_ISSUER", "LEADS_JWT_AUDIENCE"])
def test_published_keys_need_an_issuer_and_an_audience(lacking):
    environ = {"LEADS_AUTH": "jwt", "LEADS_JWKS_URL": "https://id.example.com/jwks", "LEADS_JWT_ISSUER": "id",
               "LEADS_JWT_AUDIENCE": "leads"}
    with pytest.raises(config.SettingsError) as caught:
        config.load(environ | {lacking: ""})
    assert is_one_sentence_about(lacking, str(caught.value))


@pytest.mark.parametrize("lacking", ["LEADS_AUTH", "DATABASE_URL"])
def test_row_security_needs_callers_and_a_role(lacking):
    with pytest.raises(config.SettingsError) as caught:
        config.load({"LEADS_RLS": "1", "LEADS_AUTH": "keys", "DATABASE_URL": "postgresql://db/leads"} | {lacking: ""})
    assert is_one_sentence_about(lacking, str(caught.value))
