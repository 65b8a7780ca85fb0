"""JSON Web Tokens: Supabase's own layouts, what is refused, key rotation, and a key server that is down."""

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import logging
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from leads_service import config
from leads_service.access import tokens
from leads_service.app import create_app
from real.service import until

SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"  # as Supabase's own documentation has it
ISSUER = "https://abcdefghijklmnop.supabase.co/auth/v1"
AUDIENCE = "authenticated"
COMPANY = "5a1c3f0e-7d42-4c9b-8e6a-2f0b9d1c7e34"


def claims(**changes):
    """What Supabase puts into a user's access token, the role added by its operator."""
    now = int(time.time())
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(uuid.uuid4()), "exp": now + 3600, "iat": now,
            "email": "camille@example.com", "phone": "", "app_metadata": {"provider": "email", "role": "reader"},
            "user_metadata": {"role": "admin"}, "role": "authenticated", "aal": "aal1", "is_anonymous": False,
            "session_id": str(uuid.uuid4())} | changes
    return {name: value for name, value in made.items() if value is not ...}


def app_metadata(**values):
    return claims(app_metadata={"provider": "email"} | values)


DRIPS = {"drips its header": b"HTTP/1.0 200 OK\r\nX: ", "drips its body": b"HTTP/1.0 200 OK\r\n\r\n"}


class KeyServer:
    """A JWKS endpoint whose keys can change and which can go down, hang, drip or talk nonsense."""

    def __init__(self):
        self.keys, self.fetches, self.answer = {}, 0, None
        self._released = threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.fetches += 1
                if owner.answer == "hang":
                    owner._released.wait(20)
                if owner.answer in DRIPS:
                    self.drip(DRIPS[owner.answer])
                    return
                keys = json.dumps({"keys": [owner.public(key_id) for key_id in owner.keys]})
                body = " " * tokens.MAX_KEY_SET + keys if owner.answer == "long" else owner.answer or keys
                self.send_response(500 if owner.answer == "down" else 200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body.encode())

            def drip(self, beginning):
                with contextlib.suppress(OSError):
                    self.wfile.write(beginning)
                    while not owner._released.wait(0.02):
                        self.wfile.write(b" ")

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/.well-known/jwks.json"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def public(self, key_id):
        if isinstance(self.keys[key_id], str):
            secret = base64.urlsafe_b64encode(self.keys[key_id].encode()).rstrip(b"=").decode()
            return {"kty": "oct", "k": secret, "alg": "HS256", "kid": key_id}
        algorithm = jwt.get_algorithm_by_name("ES256" if isinstance(self.keys[key_id], ec.EllipticCurvePrivateKey) else
                                              "RS256")
        public = json.loads(algorithm.to_jwk(self.keys[key_id].public_key()))
        return public | {"kid": key_id, "use": "sig"}

    def rotate(self, key_id, key=None):
        """Publish a new key, and no other."""
        self.keys = {key_id: key or ec.generate_private_key(ec.SECP256R1())}

    def token(self, payload, key_id, algorithm="ES256"):
        return jwt.encode(payload, self.keys[key_id], algorithm, {"kid": key_id})


RSA_KEY = rsa.generate_private_key(65537, 2048)


@pytest.fixture
def key_server():
    server = KeyServer()
    server.keys = {"ec": ec.generate_private_key(ec.SECP256R1()), "rsa": RSA_KEY}
    yield server
    server.close()


@pytest.fixture
def quick(monkeypatch):
    """Fetches are due after tenths of seconds."""
    monkeypatch.setattr(tokens, "COOLDOWN", 0.1)
    monkeypatch.setattr(tokens, "REFRESH", 0.1)
    monkeypatch.setattr(tokens, "REMEMBERED", 0)
    monkeypatch.setattr(tokens, "TIMEOUT", 0.5)


@pytest.fixture
def asking(db_url):
    """A function: the application under these settings, as a function from a token to the status it gets."""

    def make(**settings):
        app = create_app(config.load({"DATABASE_URL": db_url, "LEADS_AUTH": "jwt", **settings}))

        def status(token, method="GET"):
            headers = {"Authorization": f"Bearer {token}"}
            return app.test_client().open("/leads/", method=method, headers=headers).status_code
        return status

    return make


def hs256(payload, secret=SECRET):
    return jwt.encode(payload, secret, "HS256")


def with_issuer(**settings):
    return {"LEADS_JWT_ISSUER": ISSUER, "LEADS_JWT_AUDIENCE": AUDIENCE} | settings


def forged(header, payload, sign=lambda text: b""):
    """A token put together by hand."""
    def part(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=")
    text = b".".join(part(each if isinstance(each, bytes) else json.dumps(each).encode()) for each in (header, payload))
    return (text + b"." + part(sign(text))).decode()


def hmac_with(secret):
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


def test_supabases_legacy_layout(asking):
    status = asking(**with_issuer(LEADS_JWT_SECRET=SECRET))
    assert status(hs256(claims())) == 200
    assert status(hs256(claims()), "POST") == 403
    assert status(hs256(app_metadata(role="editor")), "POST") == 400  # a body is all that lacks


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_published_keys(asking, key_server, key):
    status = asking(**with_issuer(LEADS_JWKS_URL=key_server.url))
    algorithm = {"ec": "ES256", "rsa": "RS256"}[key]
    assert status(key_server.token(claims(), key, algorithm)) == 200
    assert status(key_server.token(claims(iss="https://evil.example.com"), key, algorithm)) == 401
    assert key_server.fetches == 1


def test_a_published_secret_is_no_key(asking, key_server):
    key_server.keys["oct"] = SECRET
    status = asking(**with_issuer(LEADS_JWKS_URL=key_server.url))
    assert status(key_server.token(claims(), "oct", "HS256")) == 401
    assert status(key_server.token(claims(), "ec")) == 200


NOW = int(time.time())
REFUSED = {
    "expired": claims(exp=NOW - 60), "without expiry": claims(exp=...), "expiry null": claims(exp=None),
    **{f"{name} a text": claims(**{name: str(NOW + shift)}) for name, shift in (("exp", 600), ("nbf", 0), ("iat", 0))},
    "expiry true": claims(exp=True), "expiry a word": claims(exp="never"), "expiry endless": claims(exp=float("inf")),
    "expiry a list": claims(exp=[9]),
    "not yet": claims(nbf=NOW + 600), "issued in the future": claims(iat=NOW + 600), "no issuer": claims(iss=...),
    "issuer": claims(iss=ISSUER + "/"), "issuer a list": claims(iss=[ISSUER]), "no audience": claims(aud=...),
    "audience": claims(aud="anon"), "audiences": claims(aud=["anon", "other"]), "audience a number": claims(aud=1),
    **{f"app_metadata {value!r}": claims(role="service_role", app_metadata=value)
       for value in ([], None, "x", [COMPANY])},
    **{f"company {company!r}": app_metadata(role="admin", company_id=company)
       for company in ("", None, "x", 1, [], {}, [COMPANY], True, COMPANY + "0")},
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_claims(asking, name):
    status = asking(**with_issuer(LEADS_JWT_SECRET=SECRET))
    payload = json.dumps(REFUSED[name]).encode()
    assert status(forged({"alg": "HS256"}, payload, hmac_with(SECRET.encode()))) == 401


def test_clocks_may_differ_a_little(asking):
    status = asking(**with_issuer(LEADS_JWT_SECRET=SECRET))
    assert status(hs256(claims(exp=int(time.time()) - 5, iat=int(time.time()) + 5, nbf=int(time.time()) + 5))) == 200
    assert status(hs256(claims(exp=int(time.time()) - 15))) == 401


def test_what_is_no_token(asking, key_server):
    status = asking(**with_issuer(LEADS_JWT_SECRET=SECRET, LEADS_JWKS_URL=key_server.url))
    public = key_server.keys["rsa"].public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    good = hs256(claims())
    assert status(good) == 200
    for name, token in {
        "none": forged({"alg": "none"}, claims()), "None": forged({"alg": "None"}, claims()),
        "none with kid": forged({"alg": "none", "kid": "rsa"}, claims()), "no alg": forged({"kid": "ec"}, claims()),
        "alg a list": forged({"alg": ["HS256"], "kid": "ec"}, claims()),
        "another secret": hs256(claims(), SECRET + "x"), "no signature": good.rpartition(".")[0] + ".",
        "HS384": jwt.encode(claims(), SECRET.ljust(64), "HS384"),
        "a public key as secret": forged({"alg": "HS256", "kid": "rsa"}, claims(), hmac_with(public)),
        "the wrong algorithm of a key": forged({"alg": "RS256", "kid": "ec"}, claims(), lambda text: b"x" * 256),
        "unknown kid": jwt.encode(claims(), RSA_KEY, "RS256", {"kid": "nobody's"}),
        "no kid": jwt.encode(claims(), RSA_KEY, "RS256"),
        "kid a list": forged({"alg": "RS256", "kid": ["rsa"]}, claims()),
        "a key in its own header": forged({"alg": "ES256", "jwk": key_server.public("ec")}, claims()),
        "critical": jwt.encode(claims(), SECRET, "HS256", {"crit": ["exp"], "exp": 1}),
        "claims a list": forged({"alg": "HS256"}, [], hmac_with(SECRET.encode())),
        "deep": forged(b'{"a":' * 900 + b"1" + b"}" * 900, claims()), "changed": good[:-4] + "AAAA",
        "words": "a.b.c", "two parts": "a.b", "dots": "..", "bytes": "\xe9\xff.\xe9.\xe9", "long": "x" * 8000,
    }.items():
        assert status(token) == 401, name


@pytest.mark.parametrize(("payload", "settings", "role"), [
    (claims(role="admin"), {}, "reader"),  # the configured claim counts, no other
    (claims(app_metadata={}), {}, None), (claims(app_metadata=...), {}, None),
    (app_metadata(role="ADMIN"), {}, None), (app_metadata(role=["other", "editor", "reader"]), {}, "editor"),
    (app_metadata(role={"admin": 1}), {}, None), (app_metadata(role=[["admin"], None, 3]), {}, None),
    (claims(role="anon"), {"LEADS_JWT_ROLE_CLAIM": "role"}, None),
    (claims(role="authenticated"), {"LEADS_JWT_ROLE_CLAIM": "role"}, None),
    (claims(role="service_role"), {"LEADS_JWT_ROLE_CLAIM": "role"}, "admin"),
    (claims(role="service_role", app_metadata={}), {}, None),
    (claims(user_role="editor"), {"LEADS_JWT_ROLE_CLAIM": "user_role"}, "editor"),
    ({"https://erp.example.com/role": "editor", **claims()},
     {"LEADS_JWT_ROLE_CLAIM": "https://erp.example.com/role"}, "editor"),
    ({"app_metadata.role": "admin", **claims()}, {}, "reader"),
    (claims(realm_access={"roles": ["offline", "admin"]}), {"LEADS_JWT_ROLE_CLAIM": "realm_access.roles"}, "admin"),
])
def test_roles(asking, payload, settings, role):
    status = asking(**with_issuer(LEADS_JWT_SECRET=SECRET, **settings))
    reached = {method for method in ("GET", "POST") if status(hs256(payload), method) != 403}
    assert reached == {None: set(), "reader": {"GET"}, "editor": {"GET", "POST"}, "admin": {"GET", "POST"}}[role]


def test_a_token_without_company_can_be_refused(asking):
    status = asking(**with_issuer(LEADS_JWT_SECRET=SECRET, LEADS_JWT_COMPANY_REQUIRED="1"))
    assert status(hs256(claims())) == 401
    assert status(hs256(app_metadata(role="reader", company_id=COMPANY))) == 200


def test_only_the_secret_is_needed(asking):
    status = asking(LEADS_JWT_SECRET=SECRET, LEADS_JWT_ROLE_CLAIM="role")
    static = {"iss": "supabase", "ref": "abcdefghijklmnop", "iat": NOW, "exp": NOW + 600}  # Supabase's API keys
    assert status(hs256(static | {"role": "service_role"})) == 200
    assert status(hs256(static | {"role": "anon"})) == 403
    assert status(hs256(claims(role="service_role", aud=["authenticated", "other"]))) == 200


def test_a_token_that_is_remembered_still_expires(asking, monkeypatch):
    monkeypatch.setattr(tokens, "LEEWAY", 0)
    status = asking(LEADS_JWT_SECRET=SECRET)
    token = hs256(claims(exp=int(time.time()) + 2))
    assert status(token) == status(token) == 200
    until(lambda: status(token) == 401, 3)


def test_not_more_than_so_many_are_remembered(asking, monkeypatch):
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 3)
    judge = tokens.Tokens(config.load({"LEADS_AUTH": "jwt", "LEADS_JWT_SECRET": SECRET}))
    for _ in range(20):
        assert judge.caller(hs256(claims()))
        assert not judge.caller(hs256(claims(), SECRET + "x"))
    assert len(judge._remembered) <= 3


UNREADABLE = [
    {"kty": "EC", "crv": "P-256", "x": 1, "y": [], "kid": "bad"}, {"kty": "EC", "crv": "P-0", "kid": "bad"},
    {"kty": "RSA", "n": "é", "e": "AQAB", "kid": "bad"}, {"kty": "RSA", "n": "", "e": "", "kid": "bad", "alg": []},
    {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43, "kid": "bad"},  # a point that is not on the curve
    {"kty": "RSA", "n": "AQ", "e": "AQ", "kid": "bad"}, {"kty": "EC", "crv": "P-256", "x": "A", "y": "A", "kid": "bad"},
    {"kty": []}, {"kty": {}, "kid": {}}, {}, [], None, "x", 1, {"kty": "RSA", "n": 2, "e": None, "kid": ["bad"]},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "bad"}, {"kty": "AKP", "kid": "bad"}]


@pytest.mark.parametrize("unreadable", UNREADABLE, ids=str)
def test_a_key_that_cannot_be_read_spoils_no_other(asking, key_server, unreadable):
    odd = [key_server.public("rsa") | changes for changes in ({"kid": ["bad"]}, {"kid": {}}, {"kid": 1}, {"use": []})]
    key_server.answer = json.dumps({"keys": [*odd, unreadable, key_server.public("ec")]})
    status = asking(**with_issuer(LEADS_JWKS_URL=key_server.url))
    assert status(key_server.token(claims(), "ec")) == 200


def test_rotation_without_a_restart(asking, key_server, quick):
    status = asking(**with_issuer(LEADS_JWKS_URL=key_server.url))
    old = key_server.token(claims(), "ec")
    assert status(old) == 200
    key_server.rotate("new")
    time.sleep(0.15)
    new = key_server.token(claims(), "new")
    with ThreadPoolExecutor(8) as pool:  # nobody who comes while the new keys are fetched is turned away
        assert set(pool.map(status, [new] * 8)) == {200}
    assert status(old) == 401


def test_unknown_keys_cause_few_fetches(asking, key_server):
    status = asking(**with_issuer(LEADS_JWKS_URL=key_server.url))
    for _ in range(50):
        assert status(jwt.encode(claims(), RSA_KEY, "RS256", {"kid": str(uuid.uuid4())})) == 401
    assert key_server.fetches == 1


@pytest.mark.parametrize("trouble", ["down", "hang", *DRIPS, "nonsense", '{"keys": []}', "[]",
                                     '{"keys": [{"kty": "oct"}]}', "long", "closed"])
def test_the_key_server_is_down(asking, key_server, quick, caplog, monkeypatch, trouble):
    monkeypatch.setattr(tokens, "TIMEOUT", 2)
    status = asking(**with_issuer(LEADS_JWKS_URL=key_server.url))
    known = key_server.token(claims(), "ec")
    assert status(known) == 200
    unknown = jwt.encode(claims(), RSA_KEY, "RS256", {"kid": "unknown"})
    key_server.answer = trouble
    if trouble == "closed":
        key_server._server.server_close()
    time.sleep(0.15)  # a fetch is due
    began = time.monotonic()
    assert status(known) == 200  # and is not waited for
    assert time.monotonic() - began < 1.5
    until(lambda: status(known) == 200 and "could not be fetched" in caplog.text)
    began = time.monotonic()
    for _ in range(30):
        for token, expected in ((known, 200), (unknown, 401)):
            assert status(token) == expected
        time.sleep(0.01)
    assert time.monotonic() - began < 30 * tokens.PATIENCE / 2  # if each of the unknown were waited for, twice as long
    assert "camille" not in caplog.text
    if trouble != "closed":  # and when it is back, it is asked again
        key_server.answer = None
        key_server._released.set()
        key_server.rotate("new")
        until(lambda: status(key_server.token(claims(), "new")) == 200, 5)


def test_a_slow_key_server_costs_strangers_tokens_little_of_the_workers_time(asking, key_server, monkeypatch):
    status = asking(**with_issuer(LEADS_JWKS_URL=key_server.url))
    assert status(key_server.token(claims(), "ec")) == 200
    monkeypatch.setattr(tokens, "COOLDOWN", 0)
    monkeypatch.setattr(tokens, "PATIENCE", 1.5)
    key_server.answer = "hang"
    unknown = jwt.encode(claims(), RSA_KEY, "RS256", {"kid": "unknown"})
    began = time.monotonic()
    for _ in range(4):  # waits of the same fetch, one after the other
        assert status(unknown) == 401
    assert tokens.PATIENCE * 0.8 < time.monotonic() - began < tokens.PATIENCE * 3
    for header in ({"alg": "HS256", "kid": "x"}, {"alg": "none", "kid": "x"}, {"alg": "RS256"}):
        monkeypatch.setattr(tokens.KeySet, "find", lambda *_: pytest.fail("a look for what cannot be verified"))
        assert status(forged(header, claims())) == 401


@pytest.mark.parametrize("trouble", DRIPS)
def test_a_key_server_that_keeps_fetches_from_ending_gets_few(key_server, quick, monkeypatch, trouble):
    monkeypatch.setattr(tokens, "TIMEOUT", 0.3)  # a busy machine may be late with a drip
    key_server.answer = trouble
    key_set = tokens.KeySet(key_server.url)
    for _ in range(40):
        assert key_set.find("unknown") is None
        time.sleep(0.05)
    if trouble == "drips its header":  # which nothing ends but the server
        assert key_server.fetches == tokens.MAX_FETCHES
    else:
        assert key_server.fetches > tokens.MAX_FETCHES


def test_the_log_does_not_tell_who_was_refused(asking, caplog):
    status = asking(**with_issuer(LEADS_JWT_SECRET=SECRET))
    with caplog.at_level(logging.DEBUG):
        for payload in (claims(exp=1), claims(iss="x"), app_metadata(role="reader", company_id="camille")):
            token = hs256(payload)
            assert status(token) == 401
            assert not [word for word in ("camille", token, payload["sub"]) if word in caplog.text]
    assert "ExpiredSignatureError" in caplog.text
