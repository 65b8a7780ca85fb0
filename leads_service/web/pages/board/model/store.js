// What the page knows: one object, drawn anew after each change of it.
import { get } from "./api.js";
import { place } from "./address.js";
import { today } from "./words.js";

export const STAGES = ["new", "contacted", "proposal", "negotiation", "won", "lost"];
const FOLDED = new Set(["won", "lost"]); // until somebody unfolds them
const CARDS = 30; // fetched at once
const MOST_IDS = 100; // that the API takes at once
const CARD = 60; // px from one card to the next, at least
const LATER = 100; // ms after which what stands beside the cards is asked: first they are drawn
const MORE_CARDS = 3; // of a column, drawn at once when those in sight are there
const PICTURE = 16; // ms from one picture to the next
const MOST_COLUMNS = 12; // of a group that has many values; the list shows the others
const SORTED = "-created_at";

export const state = {
  place: place(),
  caller: null, // {name, role}; null: not known yet
  asked: false, // the service asks for a credential
  refusedCredential: false,
  offline: false,
  slow: false,
  leads: new Map(), // id → lead
  etags: new Map(), // id → the version of that very lead, where it is known
  since: new Map(), // id → since when it is in its stage; null: the history does not know
  changed: new Map(), // id → when somebody else changed it, for a flash
  columns: null, // [{value, status, ids, cursor, figures, error}], null: not loaded yet
  whole: null, // the figures of all of them
  most: Infinity, // cards of a column that are drawn
  list: null, // the same as one column, for the table; with `total`
  dialog: null, // what is asked just now: {kind, …}
  said: null, // what happened last: {text, undo}
  column: 0, // the one that a phone shows
  unfolded: new Set(),
  failure: null, // why nothing can be shown
};

let draw = () => {};
let waiting = false;

export function onUpdate(act) {
  draw = act;
}

// Change what the page knows, and draw it.
export function update(changes = {}) {
  Object.assign(state, changes);
  if (waiting) return;
  waiting = true;
  queueMicrotask(() => {
    waiting = false;
    draw();
  });
}

// What a caller may do: a role may do all that the ones before it may.
export const may = (role) => {
  const roles = ["reader", "editor", "admin"];
  return Boolean(state.caller) && roles.indexOf(state.caller.role) >= roles.indexOf(role);
};

export const valueOf = (lead, field) => {
  const value = field.startsWith("notes.") ? lead.notes[field.slice(6)] : lead[field];
  return value === undefined ? null : value;
};
export const orderOf = () => state.place.sort || SORTED;

// The query string of the leads in a column, or (undefined) in all of them.
function query(value, more = {}) {
  const asked = new URLSearchParams(state.place.filters);
  if (value === null) asked.append("without", state.place.by);
  else if (value !== undefined) asked.set(state.place.by, value);
  asked.set("sort", orderOf() === "relevance" && !asked.get("q") ? SORTED : orderOf());
  for (const [name, one] of Object.entries(more)) if (one) asked.set(name, one);
  return asked;
}

let loaded = null; // what was asked for
let generation = 0; // of what is shown; answers for an older one are thrown away

// Load the board or the table from its beginning.
export async function load() {
  const mine = ++generation;
  const current = () => mine === generation;
  const { view, by } = state.place;
  // Other leads than before are looked at from the first one on: those in sight come first.
  const asked = String(query());
  if (asked !== loaded || !state.columns) state.most = Math.ceil(innerHeight / CARD);
  loaded = asked;
  if (view === "table") {
    state.list = newColumn(undefined, state.list);
    await more(state.list, undefined, { count: "exact" });
    return;
  }
  const stages = by === "stage";
  const before = new Map(state.columns?.map((column) => [column.value, column]));
  if (stages) {
    state.columns = STAGES.filter(isWanted).map((stage) => newColumn(stage, before.get(stage)));
    // The figures wait: they cost as much as all the cards, which a person waits for.
    await Promise.all(state.columns.filter(isOpen).map((column) => more(column)));
    await new Promise((resolve) => setTimeout(resolve, LATER));
    if (!current()) return;
  } else state.columns = state.columns?.map((column) => newColumn(column.value, column)) ?? null;
  update();
  try {
    const { data } = await get(`leads/stats?by=${by}&${state.place.filters}`);
    if (!current()) return;
    settle(data, stages);
  } catch (refusal) {
    if (!current()) return;
    // Cards of this place that are there stay, and have no figures for a moment.
    if (refusal.status >= 500 && state.columns?.some(({ ids, isOld }) => ids.length && !isOld)) refreshFigures();
    else fail(refusal);
    return;
  }
  state.columns.filter((column) => isOpen(column) && column.status === "new").forEach((column) => more(column));
  update({ failure: null });
}

// Nothing can be shown, unless something is: where the service is not reached that stays, under a banner.
export function fail(refusal) {
  if (refusal.status === 401 || (refusal.status === 0 && (state.columns || state.list))) return;
  update({ failure: refusal });
}

// Forget what is shown, since something else is to be.
export function forget() {
  generation++;
  Object.assign(state, { columns: null, whole: null, list: null, failure: null });
}

// What the columns are, after the figures: those that are there stay.
function settle({ whole, values, others }, stages) {
  const figures = new Map(values.map((each) => [each.value, each]));
  let wanted = stages ? STAGES.filter(isWanted) : values.map((each) => each.value).filter((value) => value !== null);
  wanted = wanted.slice(0, MOST_COLUMNS);
  if (figures.has(null)) wanted.push(null);
  const there = new Map((state.columns ?? []).map((column) => [column.value, column]));
  state.columns = wanted.map((value) => {
    const column = there.get(value) ?? newColumn(value);
    return Object.assign(column, { figures: figures.get(value) ?? null });
  });
  state.whole = { ...whole, others };
}

const isWanted = (stage) => [null, stage].includes(state.place.filters.get("stage"));
// Until its own leads are there it shows those that it had `before`: somebody types a search.
const newColumn = (value, before) => ({
  value, status: "new", ids: before?.ids ?? [], isOld: Boolean(before), cursor: null, figures: before?.figures ?? null });
export const isOpen = (column) =>
  state.place.by !== "stage" || !FOLDED.has(column.value) || state.unfolded.has(column.value)
  || state.place.filters.get("stage") === column.value;

export function unfold(value, open) {
  if (open) state.unfolded.add(value);
  else state.unfolded.delete(value);
  const column = state.columns.find((each) => each.value === value);
  if (open && column.status === "new") more(column);
  update();
}

let underWay = 0; // lists that are asked for
let resting = null;
let unknown = []; // ids of the leads whose time in their stage is asked for when no list is

// The next leads of a column, or of the table.
export async function more(column, value = column.value, asked = {}) {
  const mine = generation;
  if (column.busy) return;
  underWay++;
  Object.assign(column, { busy: true, status: column.ids.length ? "ready" : "loading", error: null });
  update();
  try {
    const page = await get(`leads/?${query(value, { limit: CARDS, cursor: column.cursor, ...asked })}`);
    if (mine !== generation) return;
    for (const lead of page.data) keep(lead);
    if (column.isOld) Object.assign(column, { ids: [], isOld: false });
    const there = new Set(column.ids);
    column.ids.push(...page.data.map((lead) => lead.id).filter((id) => !there.has(id)));
    Object.assign(column, { cursor: page.next_cursor, status: "ready" }, "total" in page ? { total: page.total } : {});
    unknown.push(...page.data.map((lead) => lead.id));
  } catch (refusal) {
    Object.assign(column, { status: column.ids.length ? "ready" : "failed", error: refusal });
  } finally {
    column.busy = false;
    underWay--;
    update();
    clearTimeout(resting);
    resting = setTimeout(rest, LATER);
  }
}

// What waited for the cards in sight: the other cards, a few a picture so that no key waits for all of them, and how long
// the leads are in their stages.
function rest() {
  if (underWay) return; // whoever types a search waits for the next ones
  const drawn = [...(state.columns ?? []), state.list].every((column) => !column || column.ids.length <= state.most);
  update({ most: drawn ? Infinity : state.most + MORE_CARDS });
  if (drawn) stageTimes();
  else resting = setTimeout(rest, PICTURE);
}

// Since when leads are in their stages: shown once known, so that no card waits for it.
async function stageTimes() {
  const ids = unknown.splice(0, MOST_IDS);
  if (!ids.length) return;
  if (unknown.length) stageTimes();
  try {
    const { data } = await get(`leads/stages?${ids.map((id) => `id=${id}`).join("&")}`);
    for (const id of ids) state.since.set(id, data[id] ?? null);
    update();
  } catch {
    // A card does without.
  }
}

// The figures alone, after changes; several changes at once cost one look.
let refreshing = null;
export function refreshFigures() {
  clearTimeout(refreshing);
  refreshing = setTimeout(async () => {
    const mine = generation;
    try {
      if (state.list) {
        const { total } = await get(`leads/?${query(undefined, { limit: 1, count: "exact" })}`);
        if (mine === generation) Object.assign(state.list, { total });
        update();
      }
      if (!state.columns) return;
      const { data } = await get(`leads/stats?by=${state.place.by}&${state.place.filters}`);
      if (mine !== generation) return;
      settle(data, state.place.by === "stage");
      state.columns.filter((column) => isOpen(column) && column.status === "new").forEach((column) => more(column));
      update();
    } catch {
      // The next change looks again.
    }
  }, 300);
}

// Whether two leads have the same values; the service does not always write the fields in one order.
export const areSame = (one, other, but = "") => Object.keys(other).every(
  (field) => field === but || JSON.stringify(one[field]) === JSON.stringify(other[field]));

// Remember a lead as the service says it is.
export function keep(lead, etag) {
  const known = state.leads.get(lead.id);
  if (etag) state.etags.set(lead.id, etag);
  if (known && areSame(known, lead)) return; // as it was, so nothing of it is drawn anew
  if (!etag) state.etags.delete(lead.id);
  if (known && known.stage !== lead.stage) state.since.set(lead.id, new Date().toISOString());
  state.leads.set(lead.id, lead);
}

const collator = new Intl.Collator("fr", { sensitivity: "base" });
const KEYS = {
  created_at: (lead) => lead.created_at, updated_at: (lead) => lead.updated_at, name: (lead) => lead.name,
  interest_level: (lead) => lead.interest_level,
  next_step: (lead) => nextStep(lead) ?? "none",
};
export const nextStep = (lead) => {
  const date = lead.notes.next_step_date;
  return typeof date === "string" && /^\d{4}-\d\d-\d\d/.test(date) ? date.slice(0, 10) : null;
};
export const isOverdue = (lead) => nextStep(lead) !== null && nextStep(lead) < today();

// Whether one lead stands before another in the order of the lists.
function isBefore(one, other) {
  const sort = orderOf();
  const key = KEYS[sort.replace("-", "")] ?? KEYS.created_at;
  const [a, b] = [key(one), key(other)];
  const order = typeof a === "string" && sort.endsWith("name") ? collator.compare(a, b) : a < b ? -1 : a > b ? 1 : 0;
  return (sort.startsWith("-") || sort === "relevance" ? -order : order) < 0;
}

// Put a lead where it belongs among what is loaded, or (null) take it out.
export function arrange(id, lead) {
  for (const column of [...(state.columns ?? []), state.list].filter(Boolean)) {
    const belongs = lead && (column === state.list || valueOf(lead, state.place.by) === column.value);
    const at = column.ids.indexOf(id);
    if (belongs && at >= 0 && stays(column, at, lead)) continue;
    if (at >= 0) column.ids.splice(at, 1);
    if (!belongs || column.status !== "ready") continue;
    const behind = column.ids.findIndex((other) => isBefore(lead, state.leads.get(other)));
    if (behind >= 0) column.ids.splice(behind, 0, id);
    else if (!column.cursor) column.ids.push(id); // otherwise it comes with the next page
  }
}

function stays(column, at, lead) {
  const [before, after] = [column.ids[at - 1], column.ids[at + 1]].map((id) => id && state.leads.get(id));
  return !(before && isBefore(lead, before)) && !(after && isBefore(after, lead));
}

// The leads in the order in which the page shows them, for next and previous.
export function shown() {
  if (state.list) return state.list.ids;
  return (state.columns ?? []).filter(isOpen).flatMap((column) => column.ids);
}
