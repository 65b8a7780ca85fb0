"""The environment, read once and checked. Nothing else in the package reads it."""

import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg2
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate, validates_schema
from psycopg2.extensions import parse_dsn

VERSION = "1.0.0"
CORES = len(os.sched_getaffinity(0))
LONGEST_UNIX_ADDRESS = 107  # bytes (sun_path of unix(7))
# What of libpq's environment counts beside a DATABASE_URL: how a password or a certificate is kept out of it, and how
# safe the connection must at least be. The others would lead elsewhere, or change what statements mean.
_KEPT_OF_LIBPQ = re.compile("PG(PASSWORD|PASSFILE|SSL[A-Z]*|SERVICEFILE|SYSCONFDIR)")


class SettingsError(ValueError):
    """A setting has a bad value; the message is one sentence that starts with the variable's name."""


@dataclass(frozen=True)
class Settings:
    """What the operator decided. Times are in seconds, sizes in bytes."""

    database_url: str | None
    replica_url: str | None
    data_dir: Path
    bind: str
    allowed_origins: tuple[str, ...]
    workers: int
    threads: int
    connections: int
    max_body: int
    phone_prefix: str
    time_zone: ZoneInfo
    statement_timeout: float
    pool_recycle: float
    slow_query: float
    log_format: str
    auth: tuple[str, ...]  # of "keys" and "jwt"; empty: nobody is asked who they are
    allow_open: bool
    jwt_secret: str | None = field(repr=False)
    jwks_url: str | None
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_role_claim: str
    jwt_company_claim: str
    jwt_company_required: bool
    trusted_proxies: int
    rls: bool


class DatabaseUrl(fields.String):
    """A URL that libpq reads; the spellings of other tools become libpq's own."""

    def _deserialize(self, value, attr, data, **kwargs):
        url = re.sub(r"^postgres(ql)?(\+psycopg2)?://", "postgresql://", value)
        try:
            if not url.startswith("postgresql://"):
                raise ValidationError("must start with postgresql://, postgres:// or postgresql+psycopg2://")
            parse_dsn(url)
        except psycopg2.ProgrammingError:
            # libpq's own words would repeat the URL, password included.
            raise ValidationError("is not a URL that PostgreSQL's client library can read") from None
        return url


class Origins(fields.String):
    """A comma-separated list of exact origins (RFC 6454: scheme, host, optional port, nothing behind)."""

    def _deserialize(self, value, attr, data, **kwargs):
        origins = tuple(part.strip() for part in value.split(",") if part.strip())
        for origin in origins:
            if not re.fullmatch(r"https?://[\w.-]+(:\d+)?|https?://\[[0-9a-fA-F:.]+\](:\d+)?", origin):
                raise ValidationError(f"holds {origin!r}, which is not an origin such as https://erp.example.com")
        return origins


class Ways(fields.String):
    """`none`, or a comma-separated list of the ways in which callers may say who they are."""

    def _deserialize(self, value, attr, data, **kwargs):
        ways = tuple(part.strip() for part in value.split(","))
        if ways != ("none",) and not set(ways) <= {"keys", "jwt"}:
            raise ValidationError("must be none, keys, jwt or keys,jwt")
        return () if ways == ("none",) else ways


class Switch(fields.String):
    """1 or 0."""

    def _deserialize(self, value, attr, data, **kwargs):
        if value not in ("0", "1"):
            raise ValidationError("must be 0 or 1")
        return value == "1"


class Zone(fields.String):
    """The name of a time zone of the IANA's; the package tzdata has them where the machine has none."""

    def _deserialize(self, value, attr, data, **kwargs):
        try:
            return ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # no such zone, no name of one, a folder of zones
            raise ValidationError("must be the name of a time zone such as Europe/Paris") from None


def _check_secret(secret):
    if len(secret.encode()) < 32:
        raise ValidationError("must have 32 bytes or more (RFC 7518, 3.2): a shorter one can be guessed")


def _check_jwks_url(url):
    # Whoever can change the keys on their way decides who is who.
    if not re.fullmatch(r"https://[^\s/]+(/\S*)?|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/\S*)?", url):
        raise ValidationError("must start with https:// (http:// only on this machine)")


def _check_claim(path):
    if path.partition(".")[0] == "user_metadata":
        raise ValidationError("must not lie in user_metadata, which users write themselves")


def _number(kind, low, high, default):
    wrong = f"must be a number from {low} to {high}"
    return kind(load_default=default, validate=validate.Range(low, high, error=f"must be {low} to {high}"),
                error_messages={"invalid": wrong, "special": wrong})


def _check_bind(address):
    port = re.fullmatch(r"unix:.+|(?:\[[0-9a-fA-F:.]+\]|[\w.-]*):(\d{1,5})", address)
    if not port or int(port[1] or 0) > 65535:
        raise ValidationError("must look like 127.0.0.1:8000 or unix:/run/leads.sock")
    if is_too_long(address.removeprefix("unix:")):
        raise ValidationError(f"is too long: a unix socket's path has room for {LONGEST_UNIX_ADDRESS} bytes")


def is_too_long(path: str) -> bool:
    """Whether a unix socket cannot have this path."""
    return len(os.fsencode(path)) > LONGEST_UNIX_ADDRESS


class SettingsSchema(Schema):
    """The environment variables by their names; a blank one counts as unset."""

    class Meta:
        unknown = EXCLUDE

    DATABASE_URL = DatabaseUrl(load_default=None, attribute="database_url")
    LEADS_REPLICA_URL = DatabaseUrl(load_default=None)
    LEADS_DATA_DIR = fields.String(load_default="var", attribute="data_dir")
    LEADS_BIND = fields.String(load_default="127.0.0.1:8000", attribute="bind", validate=_check_bind)
    ALLOWED_ORIGINS = Origins(load_default=(), attribute="allowed_origins")
    WEB_CONCURRENCY = _number(fields.Integer, 1, 256, CORES)
    LEADS_THREADS = _number(fields.Integer, 1, 256, 16)
    LEADS_CONNECTIONS = _number(fields.Integer, 1, 256, 6)
    LEADS_MAX_BODY = _number(fields.Integer, 1024, 2**30, 10 * 2**20)
    LEADS_PHONE_PREFIX = fields.String(
        load_default="+33", validate=validate.Regexp(r"\+[1-9]\d{0,3}\Z", error="must look like +33"))
    LEADS_TIME_ZONE = Zone(load_default=lambda: ZoneInfo("Europe/Paris"))
    LEADS_STATEMENT_TIMEOUT = _number(fields.Float, 0.1, 3600, 15.0)
    LEADS_POOL_RECYCLE = _number(fields.Float, 1, 86400, 1800.0)
    LEADS_SLOW_QUERY = _number(fields.Float, 0, 3600, 1.0)
    LEADS_LOG_FORMAT = fields.String(
        load_default="text", validate=validate.OneOf(["text", "json"], error="must be text or json"))
    LEADS_AUTH = Ways(load_default=())
    LEADS_ALLOW_OPEN = Switch(load_default=False)
    LEADS_JWT_SECRET = fields.String(load_default=None, validate=_check_secret)
    LEADS_JWKS_URL = fields.String(load_default=None, validate=_check_jwks_url)
    LEADS_JWT_ISSUER = fields.String(load_default=None)
    LEADS_JWT_AUDIENCE = fields.String(load_default=None)
    LEADS_JWT_ROLE_CLAIM = fields.String(load_default="app_metadata.role", validate=_check_claim)
    LEADS_JWT_COMPANY_CLAIM = fields.String(load_default="app_metadata.company_id", validate=_check_claim)
    LEADS_JWT_COMPANY_REQUIRED = Switch(load_default=False)
    LEADS_TRUSTED_PROXIES = _number(fields.Integer, 0, 10, 0)
    LEADS_RLS = Switch(load_default=False)

    @pre_load
    def _blank_is_unset(self, environ, **kwargs):
        return {name: value for name, value in environ.items() if value.strip()}

    @validates_schema
    def _tokens_can_be_judged(self, loaded, **kwargs):
        keys = [name for name in ("LEADS_JWT_SECRET", "LEADS_JWKS_URL") if loaded[name]]
        if "jwt" not in loaded["LEADS_AUTH"]:
            if keys:
                raise ValidationError("is set, but LEADS_AUTH does not name jwt", keys[0])
            return
        if not keys:
            raise ValidationError("names jwt, so LEADS_JWT_SECRET or LEADS_JWKS_URL must be set", "LEADS_AUTH")
        # The secret signs for this service or its own kind; an identity provider's keys may sign for anybody's.
        for name in ("LEADS_JWT_ISSUER", "LEADS_JWT_AUDIENCE"):
            if loaded["LEADS_JWKS_URL"] and not loaded[name]:
                raise ValidationError("must be set where LEADS_JWKS_URL is: its keys may sign for others too", name)

    @validates_schema
    def _row_security_has_somebody_to_follow(self, loaded, **kwargs):
        if loaded["LEADS_RLS"]:
            for name, given in (("LEADS_AUTH", loaded["LEADS_AUTH"]), ("DATABASE_URL", loaded["database_url"])):
                if not given:
                    raise ValidationError("must be set where LEADS_RLS is 1", name)

    @post_load
    def _settings(self, loaded, **kwargs):
        renamed = {"WEB_CONCURRENCY": "workers"}
        values = {renamed.get(name, name.removeprefix("LEADS_").lower()): value for name, value in loaded.items()}
        return Settings(**values | {"data_dir": Path(values["data_dir"]).resolve()})


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environ`; raises SettingsError with one sentence that names the variable at fault."""
    try:
        return SettingsSchema().load(dict(environ))
    except ValidationError as error:
        name, messages = next(iter(error.messages.items()))
        raise SettingsError(f"{name} {messages[0]}.") from None


def settle_libpq(settings: Settings, environ: MutableMapping[str, str] = os.environ) -> None:
    """Take out of `environ` what would have libpq connect elsewhere, or otherwise, than the settings say."""
    for name in [name for name in environ if name.startswith("PG")]:
        if not (settings.database_url and _KEPT_OF_LIBPQ.fullmatch(name)):
            del environ[name]
