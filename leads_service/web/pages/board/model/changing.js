// What a person does to leads: at once on the screen, then by the service; taken back when that refuses it.
import { ask, get, post } from "./api.js";
import { go } from "./address.js";
import { arrange, keep, refreshFigures, state, update, valueOf } from "./store.js";
import { label, say, valueLabel } from "./words.js";

const TO_UNDO = 10_000; // ms
const TRIES = 5; // against others who change the same lead all the time

export const busy = new Map(); // id → whether others changed it meanwhile

const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

// Tell what happened, for the eye and the screen reader; `undo` takes it back.
let telling = null;
export function tell(text, undo = null) {
  clearTimeout(telling);
  telling = setTimeout(() => update({ said: null }), TO_UNDO);
  update({ said: { text, undo } });
}

// Ask the person; gives what the dialog's `answer` is called with, null when it was left.
export function question(dialog) {
  const before = document.activeElement;
  return new Promise((resolve) => {
    update({ dialog: { ...dialog, answer: (answer) => {
      update({ dialog: null });
      if (before?.isConnected) before.focus();
      resolve(answer);
    } } });
  });
}

// The body of a PATCH that sets `changes` ({field: value}, "notes.x" for a note) on a lead as it is now.
function bodyOf(changes, lead) {
  const body = {};
  for (const [field, value] of Object.entries(changes)) {
    if (!field.startsWith("notes.")) body[field] = value;
    else {
      body.notes ??= { ...lead.notes };
      if (value === null) delete body.notes[field.slice(6)];
      else body.notes[field.slice(6)] = value;
    }
  }
  return body;
}

// Write changes that a person made while looking at `base`, of a lead that is `current` as far as the page knows (`etag`:
// that version, where it is known). Others' changes of other fields stay; where they changed the same field, the person
// chooses. Gives the lead as it is then; null when the others' value was chosen.
async function write(id, changes, base, current, etag) {
  if (!etag) ({ data: current, etag } = await get(`leads/${id}`));
  for (let left = TRIES; ; left--) {
    const clashes = Object.keys(changes).filter(
      (field) => !same(valueOf(base, field), valueOf(current, field)) && !same(valueOf(current, field), changes[field]));
    if (clashes.length) {
      if (!(await question({ kind: "conflict", lead: current, fields: clashes, changes }))) {
        keep(current, etag);
        tell(say("keptTheirs"));
        return null;
      }
      base = current;
    }
    try {
      const answer = await ask("PATCH", `leads/${id}`, { body: bodyOf(changes, current), etag });
      keep(answer.data, answer.etag);
      return answer.data;
    } catch (refusal) {
      if (refusal.status !== 412 || !refusal.answer.current || !left) throw refusal;
      ({ current } = refusal.answer);
      etag = refusal.etag;
    }
  }
}

// Do something to a lead while its feed waits; gives what `act` gives.
async function alone(id, act) {
  busy.set(id, false);
  try {
    return await act();
  } finally {
    const missed = busy.get(id);
    busy.delete(id);
    if (missed) await reload(id).catch(() => {}); // everything is loaded anew once the service is back
    refreshFigures();
  }
}

export async function reload(id) {
  const { data, etag } = await get(`leads/${id}`);
  keep(data, etag);
  arrange(id, data);
  update();
  return data;
}

// Change fields of a lead. Throws a Refusal after everything is as it was. `happened`: what to tell when it is done;
// `base`: the lead that the person was looking at.
export async function change(id, changes, happened, base = state.leads.get(id)) {
  const [before, since, putBack] = [state.leads.get(id), state.since.get(id), whereabouts()];
  const hoped = { ...before, ...bodyOf(changes, before) };
  state.leads.set(id, hoped);
  if ("stage" in changes) state.since.set(id, new Date().toISOString());
  arrange(id, hoped);
  update();
  await alone(id, async () => {
    try {
      const lead = await write(id, changes, base, before, state.etags.get(id));
      arrange(id, state.leads.get(id));
      if (lead) tell(happened, undoOf(id, before, Object.keys(changes)));
    } catch (refusal) {
      state.leads.set(id, before);
      state.since.set(id, since);
      putBack();
      throw refusal;
    } finally {
      update();
    }
  });
}

// Gives what puts every column's leads back where they are now.
function whereabouts() {
  const ids = [...(state.columns ?? []), state.list].filter(Boolean).map((column) => [column, [...column.ids]]);
  return () => ids.forEach(([column, were]) => Object.assign(column, { ids: were }));
}

// What takes back the change that a lead has just had, of `fields`: by the history where nobody changed it since, otherwise
// those fields alone, so that others' changes stay.
function undoOf(id, before, fields) {
  const [after, etag] = [state.leads.get(id), state.etags.get(id)];
  return () => attempt(() => alone(id, async () => {
    const { data: past } = await get(`leads/${id}/history?limit=2`);
    const restored = past.length > 1 && await post(`leads/${id}/restore`, { to: past[1].change }, etag).catch((refusal) => {
      if (refusal.status !== 412) throw refusal;
    });
    if (restored) keep(restored.data, restored.etag);
    const old = Object.fromEntries(fields.map((field) => [field, valueOf(before, field)]));
    const isDone = restored || await write(id, old, after, after, etag);
    arrange(id, state.leads.get(id));
    if (isDone) tell(say("undone"));
  }));
}

// Run `act`, and tell why when the service refuses it. Gives whether it was done.
export async function attempt(act) {
  try {
    await act();
    return true;
  } catch (refusal) {
    tell(say("refused", reasonOf(refusal)));
    return false;
  }
}

// A refusal as one sentence, with the fields that it is about.
export function reasonOf(refusal) {
  if (refusal.status === undefined) throw refusal; // a fault of the page itself
  const fields = Object.entries(refusal.fields).map(([field, why]) => `${label(field)} : ${[why].flat().join(" ")}`);
  return fields.length ? fields.join(" ") : refusal.message;
}

// Move a lead to the column of `value`; a lost one is asked for a reason, a won one whether it becomes a client.
export async function move(id, value, by = state.place.by) {
  const lead = state.leads.get(id);
  if (valueOf(lead, by) === value) return;
  let changes = { [by]: value };
  if (by === "stage") {
    if (value === "lost") {
      const reason = await question({ kind: "lost", lead });
      if (reason === null) return;
      changes = { stage: "lost", status: "archived", ...(reason ? { "notes.lost_reason": reason } : {}) };
    } else if (value === "won" && !lead.client_id) {
      const choice = await question({ kind: "won", lead });
      if (choice === null) return;
      if (choice === "convert") {
        await convert(id);
        return;
      }
    } else if (lead.status === "archived") changes.status = "active";
  }
  await attempt(() => change(id, changes, say("moved", lead.name, valueLabel(by, value))));
  focusCard(id);
}

export async function convert(id) {
  const lead = state.leads.get(id);
  await attempt(() => alone(id, async () => {
    await post(`leads/${id}/convert`, {}, state.etags.get(id));
    await reload(id);
    tell(say("converted", lead.name), undoOf(id, lead, ["status", "stage", "client_id"]));
  }));
  focusCard(id);
}

export async function remove(id) {
  const lead = state.leads.get(id);
  if (!(await question({ kind: "remove", lead }))) return;
  await attempt(async () => {
    await ask("DELETE", `leads/${id}`, { etag: state.etags.get(id) });
    forgetLead(id, say("deleted", lead.name), () => attempt(async () => {
      const { data, etag } = await post(`leads/${id}/restore`);
      keep(data, etag);
      arrange(id, data);
      refreshFigures();
      tell(say("restored", lead.name));
    }));
  });
}

// A lead that is no more leaves the screen; `happened` tells why.
export function forgetLead(id, happened, undo) {
  arrange(id, null);
  state.leads.delete(id);
  refreshFigures();
  go({ lead: null });
  tell(happened, undo);
}

// Make one lead of two; `take` says whose value of a field stays.
export async function mergeInto(lead, other, take) {
  await alone(lead.id, async () => {
    const { data } = await post(`leads/${lead.id}/merge`, { others: [other.id], take }, state.etags.get(lead.id));
    arrange(other.id, null);
    state.leads.delete(other.id);
    await reload(lead.id);
    tell(say("merged", lead.name), () => attempt(async () => {
      const undone = await post(`leads/merges/${data.merge_id}/undo`);
      for (const each of undone.data.leads) {
        keep(each);
        arrange(each.id, each);
      }
      refreshFigures();
      tell(say("undone"));
    }));
  });
}

// Hand the person a file.
export function save(content, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

// Make a lead of what a form holds; throws the Refusal that names its fields.
export async function create(values) {
  const { data, etag } = await post("leads/", values);
  keep(data, etag);
  arrange(data.id, data);
  refreshFigures();
  tell(say("created", data.name));
  update();
  return data;
}

export async function addActivity(id, activity) {
  return alone(id, async () => {
    await post(`leads/${id}/activities`, activity);
    await reload(id);
    tell(say("logged"));
  });
}

export async function goBackTo(id, to, when) {
  const before = state.leads.get(id);
  await attempt(() => alone(id, async () => {
    const { data, etag } = await post(`leads/${id}/restore`, { to }, state.etags.get(id));
    keep(data, etag);
    arrange(id, data);
    tell(say("goBackTo", when), undoOf(id, before, Object.keys(data).filter(
      (field) => field !== "updated_at" && !same(before[field], data[field]))));
  }));
}

// The card that was just moved keeps the focus, wherever it is now.
function focusCard(id) {
  requestAnimationFrame(() => document.querySelector(`[data-card="${id}"] .open`)?.focus());
}
