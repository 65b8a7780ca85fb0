// The public API, asked: every answer is its data, every failure a Refusal with a sentence.
import { language, say } from "./words.js";

const ROOT = new URL("../../", import.meta.url);
const KEY = "leads.credential";
const SLOW = 1500; // ms after which a person is told that it takes its time
const LONGEST = 30_000; // ms; the service itself gives up a statement after 15 s
const LONGEST_IMPORT = 90_000;

const watchers = { reached: () => {}, unreached: () => {}, unauthorized: () => {}, slow: () => {} };

// Who is told: that the service answers, that it does not, that it asks who is there, that answers take long (a count).
export function watch(those) {
  Object.assign(watchers, those);
}

export function signIn(credential) {
  if (credential) sessionStorage.setItem(KEY, credential);
  else sessionStorage.removeItem(KEY);
}

export function isSignedIn() {
  return sessionStorage.getItem(KEY) !== null;
}

// Why something was not done. `status` 0: the service was not reached.
class Refusal extends Error {
  constructor(status, answer, etag) {
    const detail = answer?.detail;
    super(typeof detail === "string" ? detail : answer?.error || say("unreached"));
    this.status = status;
    this.code = answer?.code;
    this.answer = answer;
    this.fields = detail && typeof detail === "object" ? detail : {};
    this.etag = etag;
  }
}

let late = 0;

async function send(method, path, { body, etag, key, accept, credential, time = LONGEST }) {
  const headers = { "Accept-Language": language() };
  if (credential) headers.Authorization = `Bearer ${credential}`;
  if (accept) headers.Accept = accept;
  if (etag) headers["If-Match"] = etag;
  if (key) headers["Idempotency-Key"] = key;
  const isFile = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = isFile ? "application/octet-stream" : "application/json";
  let isLate = false;
  const waiting = setTimeout(() => watchers.slow(++late, (isLate = true)), SLOW);
  try {
    const response = await fetch(new URL(path, ROOT), {
      method, headers, signal: AbortSignal.timeout(time),
      body: body === undefined || isFile ? body : JSON.stringify(body),
    });
    return [response, accept && response.ok ? await response.text() : await response.json().catch(() => null)];
  } finally {
    clearTimeout(waiting);
    if (isLate) watchers.slow(--late);
  }
}

// What the service answers to `path` ("leads/?limit=1"): its whole body, with `etag`; a text where `accept` asks for one.
// Throws a Refusal.
// A POST has a key, so it can be sent again when its answer was lost, and nothing is done twice.
export async function ask(method, path, options = {}) {
  const credential = sessionStorage.getItem(KEY);
  const asked = { ...options, credential, key: method === "POST" ? newKey() : undefined };
  let response, answer;
  for (let left = method === "PATCH" || options.time ? 0 : 1; ; left--) {
    try {
      [response, answer] = await send(method, path, asked);
      break;
    } catch {
      if (left) continue;
      watchers.unreached();
      throw new Refusal(0);
    }
  }
  watchers.reached();
  const etag = response.headers.get("ETag");
  if (response.ok) return asked.accept ? answer : { ...answer, etag };
  // One that comes late says nothing of a credential that was entered meanwhile.
  if (response.status === 401 && credential === sessionStorage.getItem(KEY)) watchers.unauthorized(isSignedIn());
  throw new Refusal(response.status, answer, etag);
}

export const get = (path, accept) => ask("GET", path, { accept });
export const post = (path, body, etag) => ask("POST", path, { body, etag });
export const importFile = (query, file) =>
  ask("POST", `leads/import?${query}`, { body: file, time: LONGEST_IMPORT });

// crypto.randomUUID is missing where the page came without TLS.
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
