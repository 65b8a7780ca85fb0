// One lead beside the board: edited in place, with its activities, its next step and its history.
import { get } from "../model/api.js";
import { addressOf, follow } from "../model/address.js";
import { addActivity, busy, convert, goBackTo, reasonOf, reload, remove } from "../model/changing.js";
import { Component, createRef, html, onSubmit } from "./dom.js";
import { Duplicates } from "./duplicates.js";
import { Field, FIELDS, OtherNotes } from "./fields.js";
import { Person } from "./person.js";
import { may, shown as shownLeads, state } from "../model/store.js";
import { label, moment, say, textOf } from "../model/words.js";

const KINDS = ["call", "email", "meeting", "note"];
const CHANGES = 30; // of the history, shown at once

export class Panel extends Component {
  box = createRef();
  closer = createRef();
  state = { failure: null, missed: null, past: null, cursor: null };

  componentDidMount() {
    this.came = document.activeElement;
    this.box.current.focus();
    this.open();
  }
  componentWillUnmount() {
    const { id } = this.props;
    const card = document.querySelector(`[data-card="${id}"] .open`);
    if (document.activeElement === document.body || this.box.current.contains(document.activeElement)) (card ?? (this.came.isConnected ? this.came : document.getElementById("main"))).focus();
  }
  async open() {
    try {
      await reload(this.props.id);
      await this.look();
    } catch (refusal) {
      if (refusal.status === 404 || !state.leads.has(this.props.id)) this.setState({ failure: refusal });
      else this.setState({ missed: refusal }); // the lead is there, and stays while its history is not to be had
    }
  }
  // The history, anew whenever the lead is another one than the one it was looked at with.
  async look(cursor) {
    this.seen = state.leads.get(this.props.id);
    const page = await get(`leads/${this.props.id}/history?limit=${CHANGES}${cursor ? `&cursor=${cursor}` : ""}`);
    this.setState(({ past }) => ({ past: cursor ? [...past, ...page.data] : page.data, cursor: page.next_cursor, missed: null }));
  }
  componentDidUpdate() {
    const { id } = this.props;
    if (this.state.past && !busy.has(id) && state.leads.get(id) !== this.seen) this.look().catch(() => {});
  }

  render({ id }, { failure, missed, past, cursor }) {
    const lead = state.leads.get(id);
    const ids = shownLeads();
    const at = ids.indexOf(id);
    const other = (name, to) => html`<a class="button" aria-disabled=${!to} href=${to ? addressOf({ lead: to }) : null}
      onClick=${follow}>${say(name)}</a>`;
    return html`<aside class="panel" ref=${this.box} tabindex="-1" aria-label=${lead?.name ?? say("details")}
        onKeyDown=${(event) => event.key === "Escape" && !event.defaultPrevented && this.closer.current.click()}>
      <nav class="choices row">${other("previous", ids[at - 1])}${other("next", at >= 0 && ids[at + 1])}
        <a class="button" href=${addressOf({ lead: null })} onClick=${follow} ref=${this.closer}>${say("close")}</a></nav>
      ${failure ? html`<p class="wrong" role="alert">${failure.status === 404 ? say("leadGone") : failure.message}</p>`
    : !lead ? html`<p class="quiet">${say("loading")}</p>` : html`
      <h1>${lead.name}</h1>
      ${may("editor") && html`<div class="choices row">
        ${!lead.client_id && html`<button class="first" onClick=${() => convert(id)}>${say("convert")}</button>`}
        ${may("admin") && html`<button onClick=${() => remove(id)}>${say("remove")}</button>`}</div>`}
      <${Duplicates} lead=${lead} />
      <section aria-label=${say("details")}>
        ${FIELDS.map(([field, type]) => html`<${Field} key=${field} lead=${lead} field=${field} type=${type} />`)}
      </section>
      <${OtherNotes} lead=${lead} />
      <${Activities} lead=${lead} />
      <section><h2>${say("history")}</h2>
        ${missed && html`<p class="wrong">${missed.message} <button onClick=${() => this.open()}>${say("again")}</button></p>`}
        ${past && !past.length && html`<p class="quiet">${say("noHistory")}</p>`}
        <ol class="events">${(past ?? []).map((one, place) => html`<${Change} key=${one.change} one=${one} isLast=${place === 0} />`)}</ol>
        ${cursor && html`<button onClick=${() => this.look(cursor)}>${say("more")}</button>`}
      </section>
      ${may("admin") && html`<${Person} lead=${lead} />`}`}
    </aside>`;
  }
}

const drafts = new Map(); // of activities, by lead: one that was not logged is there when the lead is opened again

class Activities extends Component {
  state = { text: drafts.get(this.props.lead.id) ?? "", wrong: null };

  async add(form) {
    try {
      await addActivity(this.props.lead.id, { type: form.elements.kind.value, text: this.state.text.trim() });
      drafts.delete(this.props.lead.id);
      this.setState({ text: "", wrong: null });
    } catch (refusal) {
      this.setState({ wrong: reasonOf(refusal) });
    }
  }
  render({ lead }, { text: typed, wrong }) {
    const newest = [...lead.activities].reverse();
    const type = (event) => {
      drafts.set(lead.id, event.target.value);
      this.setState({ text: event.target.value });
    };
    return html`<section><h2>${say("activities")}</h2>
      ${may("editor") && html`<form class="add" onSubmit=${onSubmit((event) => this.add(event.target))}>
        <label>${say("activityKind")}<select name="kind">${KINDS.map((kind) => html`<option key=${kind} value=${kind}>${label(kind)}</option>`)}</select></label>
        <label>${say("activityText")}<textarea rows="2" required value=${typed} onInput=${type}></textarea></label>
        ${wrong && html`<p class="wrong" role="alert">${wrong}</p>`}
        <button>${say("addActivity")}</button></form>`}
      ${!newest.length && html`<p class="quiet">${say("noActivity")}</p>`}
      <ol class="events">${newest.map((one, at) => html`<li key=${one.id ?? at}>
        <p class="quiet">${label(one.type ?? "note")}${one.at && ` – ${moment(one.at)}`}${one.by && ` – ${one.by}`}</p>
        <p>${one.text ?? JSON.stringify(one)}</p></li>`)}</ol></section>`;
  }
}

// The fields of a change as (name, old, new); notes by their own keys.
function differences(fields) {
  return Object.entries(fields).flatMap(([field, { old, new: now }]) => {
    const isObject = (value) => value && typeof value === "object" && !Array.isArray(value);
    if (field !== "notes" || !(isObject(old) || isObject(now))) return [[field, old, now]];
    return [...new Set([...Object.keys(old ?? {}), ...Object.keys(now ?? {})])]
      .filter((key) => JSON.stringify(old?.[key]) !== JSON.stringify(now?.[key]))
      .map((key) => [`notes.${key}`, old?.[key], now?.[key]]);
  });
}

const COUNTED = ["activities", "notes.merged"]; // told by their number
const count = (value) => (Array.isArray(value) ? value.length : 0);

function Change({ one, isLast }) {
  const fields = differences(one.fields).filter(([field]) => !["id", "created_at"].includes(field));
  return html`<li>
    <p class="quiet">${moment(one.at)} – ${label(one.op)} ${say("by")} <b>${one.by}</b></p>
    ${one.op !== "create" && html`<ul>${fields.map(([field, old, now]) => html`<li key=${field}>${label(field)} :
      ${COUNTED.includes(field) ? ` ${count(old)} → ${count(now)}` : html` <del>${textOf(field, old)}</del> → <ins>${textOf(field, now)}</ins>`}</li>`)}</ul>`}
    ${!isLast && may("editor") && one.op !== "delete" && html`<button aria-label=${say("goBackTo", moment(one.at))}
      onClick=${() => goBackTo(one.lead_id, one.change, moment(one.at))}>${say("goBack")}</button>`}</li>`;
}
