// What others do: the feed of changes, looked at while the page is visible.
import { get } from "./api.js";
import { busy } from "./changing.js";
import { areSame, arrange, keep, load, refreshFigures, state, update } from "./store.js";

const EVERY = 2000; // ms
const FLASH = 4000; // ms that a card shows that somebody changed it

let cursor = null; // null: where the feed is to begin is not known yet
let begun = 0; // how often it began; what a look of before finds is thrown away
let timer = null;
let looking = false;
let ahead = null; // {filters, answer}: a feed of leads that are about to be looked at

const ask = (filters) => get(`leads/changes?${filters}`);

// Begin the feed of what will be looked at, so that its leads need not wait for it.
export function beginAhead(filters) {
  ahead = null;
  if (String(filters) === String(state.place.filters)) return; // it has begun
  ahead = { filters: String(filters), answer: ask(filters) };
  ahead.answer.catch(() => {}); // whoever waits for it tells
}

// The feed of what is looked at begins now: to be called before the leads are loaded. Gives whether they are still to be
// loaded: not when it has begun anew meanwhile.
export async function begin() {
  clearTimeout(timer);
  cursor = null;
  const mine = ++begun;
  const { filters } = state.place;
  const answer = ahead?.filters === String(filters) ? ahead.answer : ask(filters);
  ahead = null;
  try {
    const { next_cursor } = await answer;
    if (mine === begun) cursor = next_cursor;
    return mine === begun;
  } finally {
    plan();
  }
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, EVERY);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));

// See what changed since the last look.
async function look() {
  if (looking || !state.caller || !(state.columns || state.list)) return;
  looking = true;
  let mine = begun;
  try {
    if (!cursor) {
      if (!(await begin())) return;
      await load();
      mine = begun;
    }
    for (let more = true; more; ) {
      const query = new URLSearchParams(state.place.filters);
      query.set("after", cursor);
      const { data, next_cursor } = await get(`leads/changes?${query}`);
      if (mine !== begun) break;
      more = next_cursor !== cursor && data.length > 0;
      cursor = next_cursor;
      data.forEach(see);
      if (data.length) {
        refreshFigures();
        update();
      }
    }
  } catch (refusal) {
    if (refusal.code === "cursor_gone") cursor = null;
  } finally {
    looking = false;
    plan();
  }
}

function see({ lead_id: id, lead }) {
  if (busy.has(id)) {
    busy.set(id, true); // its own answer may be older than this
    return;
  }
  const known = state.leads.get(id);
  if (lead && known && areSame(known, lead, "updated_at")) return; // this page's own change
  if (lead) keep(lead);
  arrange(id, lead ?? null);
  if (!lead && state.place.lead !== id) state.leads.delete(id);
  state.changed.set(id, Date.now());
  setTimeout(() => {
    if (Date.now() - state.changed.get(id) >= FLASH) state.changed.delete(id);
    update();
  }, FLASH);
}
