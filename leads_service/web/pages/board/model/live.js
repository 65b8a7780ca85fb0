// What others do: the feed of changes, looked at while the page is visible.
import { get } from "./api.js";
import { busy } from "./changing.js";
import { areSame, arrange, forget, keep, load, refreshFigures, state, update } from "./store.js";

const EVERY = 2000; // ms
const FLASH = 4000; // ms that a card shows that somebody changed it

let cursor = null;
let filters = null;
let timer = null;
let looking = false;

// The feed of what is looked at begins now: to be called before the leads are loaded.
export async function begin() {
  clearTimeout(timer);
  filters = String(state.place.filters);
  const mine = filters;
  const answer = await get(`leads/changes?${mine}`);
  if (mine === filters) cursor = answer.next_cursor;
  plan();
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, EVERY);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));

// See what changed since the last look.
async function look() {
  if (looking || !cursor || !state.caller) return;
  looking = true;
  const mine = filters;
  try {
    for (let more = true; more; ) {
      const query = new URLSearchParams(mine);
      query.set("after", cursor);
      const { data, next_cursor } = await get(`leads/changes?${query}`);
      if (mine !== filters) break;
      more = next_cursor !== cursor && data.length > 0;
      cursor = next_cursor;
      data.forEach(see);
      if (data.length) {
        refreshFigures();
        update();
      }
    }
  } catch (refusal) {
    if (refusal.code === "cursor_gone") {
      forget();
      await begin().then(load, () => {});
    }
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
