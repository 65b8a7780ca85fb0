// The same leads as a list, and what proves a figure: all leads of an address, with how many they are.
import { addressOf, follow, leadAddresses } from "../model/address.js";
import { More, Step } from "./columns.js";
import { html } from "./dom.js";
import { more, orderOf, state, valueOf } from "../model/store.js";
import { day, label, money, say, valueLabel } from "../model/words.js";

const COLUMNS = ["name", "company", "stage", "owner", "next_step", "notes.estimated_value", "source", "city", "created_at"];
const SORTS = { name: "name", next_step: "next_step", created_at: "-created_at" };

export function Table() {
  const list = state.list;
  if (!list) return html`<p class="quiet" role="status">${say("loading")}</p>`;
  if (list.status === "ready" && !list.ids.length) {
    return html`<div class="middle"><div class="box"><h1>${say("nothingFound")}</h1>
      ${state.place.filters.size > 0 && html`<a class="button" onClick=${follow}
        href=${addressOf({ view: "table" }, "")}>${say("noFilters")}</a>`}</div></div>`;
  }
  const address = leadAddresses();
  return html`<h1 class="unseen">${say("table")}</h1>
    <p class="quiet" role="status">${list.total === undefined ? say("loading") : say("total", list.total)}</p>
    <div class="wide" tabindex="0" role="region" aria-label=${say("table")}><table>
      <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col" aria-sort=${sorted(column)}>
        ${SORTS[column] ? html`<a href=${addressOf({ sort: turned(column) })} onClick=${follow}>${label(column)}</a>`
    : label(column)}</th>`)}</tr></thead>
      <tbody>${list.ids.map((id) => html`<${Row} key=${id} lead=${state.leads.get(id)} address=${address(id)} />`)}</tbody>
    </table></div>
    ${list.error && html`<p class="wrong">${list.error.message} <button onClick=${() => more(list)}>${say("again")}</button></p>`}
    ${list.status === "loading" && html`<p class="quiet">${say("loading")}</p>`}
    ${list.cursor && !list.error && html`<p><${More} list=${list} /></p>`}`;
}

const bare = (sort) => sort.replace("-", "");

function sorted(column) {
  const sort = orderOf();
  return SORTS[column] && bare(sort) === bare(SORTS[column]) ? (sort.startsWith("-") ? "descending" : "ascending") : null;
}

// The order that a heading leads to: its own, or that one turned around.
function turned(column) {
  const sort = orderOf();
  if (bare(sort) !== bare(SORTS[column])) return SORTS[column];
  return sort.startsWith("-") ? bare(sort) : `-${sort}`;
}

function Row({ lead, address }) {
  return html`<tr data-card=${lead.id} class=${state.changed.has(lead.id) ? "changed" : ""}>
    <th scope="row"><a class="open" href=${address} onClick=${follow}>${lead.name}</a></th>
    ${COLUMNS.slice(1).map((column) => html`<td key=${column}>${cell(lead, column)}</td>`)}</tr>`;
}

function cell(lead, column) {
  if (column === "next_step") return html`<${Step} lead=${lead} />`;
  const value = valueOf(lead, column);
  if (value === null) return null;
  if (column === "created_at") return day(value);
  if (column === "notes.estimated_value") return money(Number(value));
  return valueLabel(column, value);
}
