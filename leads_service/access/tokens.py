"""JSON Web Tokens: HS256 under a secret, ES256 and RS256 under the keys that a JWKS URL publishes."""

import hashlib
import json
import logging
import threading
import time
import urllib.request

import jwt

from leads_service.access.callers import ROLE_NAMES, Caller, Role
from leads_service.config import Settings
from leads_service.contract.vocabulary import parse_uuid

log = logging.getLogger(__name__)

LEEWAY = 10  # seconds by which clocks may differ
REMEMBERED = 30  # seconds for which a token that was verified is not verified again
MAX_REMEMBERED = 1000  # tokens
REFRESH = 300  # seconds after which published keys are fetched again
COOLDOWN = 5  # seconds at least between two fetches that unknown keys cause
TIMEOUT = 2  # seconds that a fetch may take
PATIENCE = 0.5  # seconds of a fetch for which requests with unknown keys wait; others may need their threads
MAX_FETCHES = 3  # under way at once; more than one only when a server keeps them from ending
MAX_KEY_SET = 1 << 20  # bytes
_PUBLISHED = ("ES256", "RS256")
_ROLES = ROLE_NAMES | {"service_role": Role.ADMIN}  # Supabase's, where the role claim is `role`


class Tokens:
    """Judges tokens as the settings say."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._key_set = KeySet(settings.jwks_url) if settings.jwks_url else None
        self._remembered = {}  # a token's digest: (its caller, until when)

    def caller(self, token: str) -> Caller | None:
        """Whom `token` speaks for (role NONE when it names no role of this service); None when it is worth nothing."""
        digest = hashlib.sha256(token.encode("latin-1")).digest()  # header values come as Latin-1
        found, until = self._remembered.get(digest, (None, 0))
        now = time.time()
        if now < until:
            return found
        try:
            claims = self._verified(token)
            caller = claims and self._caller(claims)
        except Exception as error:
            # Whatever a stranger's text does to the parsers, it is no credential. The error may quote the text.
            log.debug("Refused a token: %s", type(error).__name__)
            return None
        if caller:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = (caller, min(now + REMEMBERED, int(claims["exp"]) + LEEWAY))
        return caller

    def _verified(self, token):
        """The token's claims; None when its key is unknown or a time is no number. Raises jwt.PyJWTError."""
        header = jwt.get_unverified_header(token)
        # Which key, never how: each key has the one algorithm that it is verified by.
        if header.get("alg") == "HS256" and self._settings.jwt_secret:
            key, algorithm = self._settings.jwt_secret, "HS256"
        else:
            key_id = header.get("kid")
            # What cannot be verified is not worth a look for its key.
            if not self._key_set or header.get("alg") not in _PUBLISHED or not isinstance(key_id, str):
                return None
            key = self._key_set.find(key_id)
            if not key:
                return None
            algorithm = key.algorithm_name
        claims = jwt.decode(
            token, key, [algorithm], audience=self._settings.jwt_audience, issuer=self._settings.jwt_issuer,
            leeway=LEEWAY, options={"require": ["exp"], "enforce_minimum_key_length": True,
                                    "verify_aud": self._settings.jwt_audience is not None})
        # Numbers they must be (RFC 7519, 2); PyJWT reads one in a text too.
        times = [claims[name] for name in ("exp", "nbf", "iat") if name in claims]
        return claims if all(type(each) in (int, float) for each in times) else None

    def _caller(self, claims):
        company_id = None
        company = _claim(claims, self._settings.jwt_company_claim)
        if company is not _ABSENT:
            company_id = parse_uuid(company) if isinstance(company, str) else None
            if not company_id:
                return None  # a company that cannot be read must not become every company
        elif self._settings.jwt_company_required:
            return None
        said = _claim(claims, self._settings.jwt_role_claim)
        words = said if isinstance(said, list) else [said]
        role = max((_ROLES.get(word, Role.NONE) for word in words if isinstance(word, str)), default=Role.NONE)
        return Caller(str(claims.get("sub", "")), role, company_id)


_ABSENT = object()


def _claim(claims, path):
    """The claim that the dots of `path` lead to, else the one of that whole name; None when they lead through what is
    no object, which is not the same as _ABSENT."""
    found = claims
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        if name not in found:
            return claims.get(path, _ABSENT)
        found = found[name]
    return found


class KeySet:
    """The keys behind a JWKS URL, by their ids.

    Fetched in a thread of their own, so that no request waits for longer than a fetch's first PATIENCE seconds (TIMEOUT
    for the first keys), and none for a server that is known to be down. PyJWT's own client would hold a lock meanwhile,
    and its timeout is of each reading: a server that drips bytes would keep it for ever.
    """

    def __init__(self, url: str):
        self._url = url
        self._keys = {}
        self._failing = False
        self._began_at = float("-inf")
        self._fetched = threading.Event()  # of the newest fetch: it ended, or has taken too long
        self._fetched.set()
        self._running = 0  # fetches, with those that have taken too long and still do not end
        self._lock = threading.Lock()

    def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key; None when the set has none of that id."""
        key = self._keys.get(key_id)
        self._fetch_if_due(REFRESH if key else COOLDOWN)
        if not key and not self._failing:
            # Counted from when the fetch began, so that strangers' tokens keep threads waiting for a tenth of the time
            # at most, while those of new keys find them.
            patience = PATIENCE if self._keys else TIMEOUT
            self._fetched.wait(self._began_at + patience - time.monotonic())
            key = self._keys.get(key_id)
        return key

    def _fetch_if_due(self, seconds):
        with self._lock:
            now = time.monotonic()
            if not self._fetched.is_set():
                if now - self._began_at < TIMEOUT:
                    return
                self._failed("it takes too long")
            if now - self._began_at < (COOLDOWN if self._failing else seconds) or self._running >= MAX_FETCHES:
                return
            self._began_at = now
            self._fetched = threading.Event()
            self._running += 1
        threading.Thread(target=self._fetch, args=(self._fetched,), name="jwks", daemon=True).start()

    def _fetch(self, fetched):
        keys = problem = None
        try:
            keys = {key.key_id: key for key in map(_key, json.loads(_download(self._url))["keys"])
                    if key and isinstance(key.key_id, str) and key.public_key_use in ("sig", None)
                    and key.algorithm_name in _PUBLISHED}
        except Exception as error:
            problem = str(error) or type(error).__name__
        with self._lock:
            self._running -= 1
            if fetched.is_set():
                return  # it took too long, and newer keys may have come meanwhile
            if keys:
                self._keys, self._failing = keys, False
                fetched.set()
            else:
                self._failed(problem or "it has no key to verify by")

    def _failed(self, why):
        # Those that are known go on being known.
        log.warning("The keys of LEADS_JWKS_URL could not be fetched: %s", why)
        self._failing = True
        self._fetched.set()


def _key(published):
    """The key of a set's member; None for one that cannot be read, which is no reason to refuse the others."""
    try:
        return jwt.PyJWK(published)
    except Exception as error:
        log.debug("Passed over a key of LEADS_JWKS_URL: %s", type(error).__name__)
        return None


def _download(url):
    """What `url` answers, a text. Raises OSError, ValueError or http.client.HTTPException."""
    until = time.monotonic() + TIMEOUT
    body = b""
    with urllib.request.build_opener(_NoRedirects).open(url, timeout=TIMEOUT) as response:
        while part := response.read1():
            body += part
            if len(body) > MAX_KEY_SET or time.monotonic() > until:
                raise ValueError("its answer is too long")
    return body.decode()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The keys come from where the settings say, or not at all."""

    def redirect_request(self, *_):
        return None
