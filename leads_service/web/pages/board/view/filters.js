// What is looked at: groups, order, filters and the views that a person keeps. All of it stands in the address.
import { get } from "../model/api.js";
import { addressOf, FILTERS, follow, go, GROUPS } from "../model/address.js";
import { Component, html, onSubmit } from "./dom.js";
import { orderOf, STAGES, state, update } from "../model/store.js";
import { label, say, valueLabel } from "../model/words.js";

const SORTS = ["-created_at", "next_step", "-interest_level", "name", "-updated_at"];
const KEPT = "leads.views";
const KINDS = {
  stage: STAGES, status: ["active", "archived", "converti"], next_step: ["overdue", "today", "week", "later", "none"],
  owner: "known", source: "known", segment: "known", city: "text", company: "text", tag: "text",
  next_step_from: "date", next_step_to: "date", created_from: "date", created_to: "date",
  interest_level_min: "number", interest_level_max: "number",
};

const views = () => JSON.parse(localStorage.getItem(KEPT) || "[]");

function keepViews(them) {
  localStorage.setItem(KEPT, JSON.stringify(them));
  update();
}

export function Filters() {
  const { view, by, filters } = state.place;
  const given = [...filters];
  const without = (at) => addressOf(Object.fromEntries(FILTERS.map((name) =>
    [name, given.filter(([other], place) => other === name && place !== at).map(([, value]) => value)])));
  const select = (name, value, options, word) => html`<label>${say(word)}
    <select value=${value} onChange=${(event) => go({ [name]: event.target.value })}>
      ${options.map((each) => html`<option key=${each} value=${each}>${label(each)}</option>`)}</select></label>`;
  const orders = SORTS.includes(orderOf()) ? SORTS : [...SORTS, orderOf()];
  return html`<section class="filters" aria-label=${say("filters", 0)}>
    ${view === "board" && select("by", by, GROUPS, "groupBy")}
    ${select("sort", orderOf(), orders, "sortBy")}
    <details onKeyDown=${shut}><summary>${say("filters", given.filter(([name]) => name !== "q").length)}</summary><${Form} /></details>
    <details onKeyDown=${shut}><summary>${say("views")}</summary><${Views} /></details>
    <ul class="chips" aria-label=${say("filters", 0)}>${given.map(([name, value], at) => html`<li key=${name + value}>
      <a href=${without(at)} onClick=${(event) => (follow(event), name === "q" && update({ searches: (state.searches ?? 0) + 1 }))}>
        ${label(name)} : ${name === "without" || name === "next_step" ? label(value) : valueLabel(name, value)} <span aria-hidden="true">×</span></a></li>`)}</ul>
  </section>`;
}

function shut(event) {
  if (event.key !== "Escape") return;
  event.currentTarget.open = false;
  event.currentTarget.firstElementChild.focus();
}

// The values that leads have, most used first, to choose from.
class Form extends Component {
  state = { known: {} };

  async ask(field) {
    if (this.state.known[field]) return;
    try {
      const { data } = await get(`leads/stats?by=${field}`);
      this.setState(({ known }) => ({ known: { ...known, [field]: data.values.map((each) => each.value).filter((value) => value !== null) } }));
    } catch {
      // A person can type it.
    }
  }
  render(_, { known }) {
    const { filters } = state.place;
    const set = (name) => (event) => go({ [name]: event.target.value.trim() || null });
    return html`<form class="pop fields" onSubmit=${onSubmit(() => {})}>
      ${Object.entries(KINDS).map(([name, kind]) => {
    const value = filters.get(name) ?? "";
    return html`<label key=${name}>${label(name)}${Array.isArray(kind)
      ? html`<select value=${value} onChange=${set(name)}><option value="">${say("anything")}</option>
              ${kind.map((each) => html`<option key=${each} value=${each}>${label(each)}</option>`)}</select>`
      : html`<input type=${["date", "number"].includes(kind) ? kind : "text"} key=${value} defaultValue=${value} onChange=${set(name)}
              list=${kind === "known" ? `known-${name}` : null} onFocus=${() => kind === "known" && this.ask(name)} />`}
          ${kind === "known" && html`<datalist id=${`known-${name}`}>${(known[name] ?? []).map((each) => html`<option key=${each} value=${each}></option>`)}</datalist>`}
        </label>`;
  })}
      <p><a class="button" href=${addressOf(Object.fromEntries(FILTERS.map((name) => [name, null])))} onClick=${follow}>${say("noFilters")}</a></p>
    </form>`;
  }
}

function Views() {
  const add = (event) => {
    const name = new FormData(event.target).get("name").trim();
    const address = addressOf({ lead: null });
    keepViews([...views().filter((view) => view.name !== name), { name, address: address.slice(location.pathname.length) }]);
    event.target.reset();
  };
  return html`<div class="pop">
    ${!views().length && html`<p class="quiet">${say("noViews")}</p>`}
    <ul>${views().map(({ name, address }) => html`<li key=${name}><a href=${location.pathname + address} onClick=${follow}>${name}</a>
      <button class="bare" aria-label=${say("forgetView", name)} onClick=${() => keepViews(views().filter((view) => view.name !== name))}>×</button></li>`)}</ul>
    <form onSubmit=${onSubmit(add)}><label>${say("viewName")}<input name="name" required maxlength="60" /></label>
      <button>${say("saveView")}</button></form></div>`;
}
