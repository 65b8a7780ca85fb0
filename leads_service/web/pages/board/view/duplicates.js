// Other leads of the same person: shown in the panel, and made one with it.
import { get, post } from "../model/api.js";
import { addressOf, follow } from "../model/address.js";
import { attempt, mergeInto, question } from "../model/changing.js";
import { Component, html } from "./dom.js";
import { FIELDS } from "./fields.js";
import { may, valueOf } from "../model/store.js";
import { label, percent, say, textOf } from "../model/words.js";

export class Duplicates extends Component {
  state = { found: null };

  componentDidMount() {
    this.look();
  }
  async look() {
    try {
      const { data } = await get(`leads/${this.props.lead.id}/duplicates`);
      this.setState({ found: data });
    } catch {
      // A lead is shown without.
    }
  }
  async dismiss(other) {
    const { id } = this.props.lead;
    await attempt(() => post(`leads/${id}/duplicates/${other}/dismiss`));
    await this.look();
  }
  async merge(other) {
    const { lead } = this.props;
    const take = await question({ kind: "merge", lead, other });
    if (take && await attempt(() => mergeInto(lead, other, take))) await this.look();
  }

  render({ lead }, { found }) {
    if (!found?.length) return null;
    return html`<details class="doubles" open><summary>${say("duplicates", found.length)}</summary>
      <ul>${found.map(({ lead: other, reasons, score }) => html`<li key=${other.id}>
        <p><a href=${addressOf({ lead: other.id })} onClick=${follow}>${other.name}</a>
          ${[other.company, other.city].filter(Boolean).map((each) => ` · ${each}`)}</p>
        <p class="quiet">${reasons.map((reason) => label(reason)).join(", ")} (${percent(score)})</p>
        ${may("editor") && html`<p class="choices row"><button onClick=${() => this.merge(other)}>${say("merge")}</button>
          <button onClick=${() => this.dismiss(other.id)}>${say("notTheSame")}</button></p>`}</li>`)}</ul></details>`;
  }
}

const MERGED = FIELDS.map(([field]) => field).filter((field) => !field.startsWith("notes.") && field !== "tags");

// Side by side: of each field in which the two differ, whose value stays.
export function Merge({ lead, other, answer }) {
  const isBlank = (value) => value === null || value === "" || value === 0;
  const fields = MERGED.filter((field) => JSON.stringify(valueOf(lead, field)) !== JSON.stringify(valueOf(other, field)));
  const act = (event) => {
    event.preventDefault();
    const chosen = new FormData(event.target);
    answer(Object.fromEntries(fields.map((field) => [field, chosen.get(field)])));
  };
  const choice = (field, { id }, value, checked) => html`<td><label class="pick">
    <input type="radio" name=${field} value=${id} defaultChecked=${checked} /> ${textOf(field, value)}</label></td>`;
  return html`<form onSubmit=${act}>
    <h2 id="asked">${say("mergeTitle", lead.name, other.name)}</h2><p>${say("mergeText")}</p>
    <div class="wide"><table><thead><tr><td></td><th scope="col">${say("thisLead")}</th><th scope="col">${say("otherLead")}</th></tr></thead>
    <tbody>${fields.map((field) => {
    const [mine, theirs] = [valueOf(lead, field), valueOf(other, field)];
    const isMine = !isBlank(mine) || isBlank(theirs);
    return html`<tr key=${field}><th scope="row">${label(field)}</th>${choice(field, lead, mine, isMine)}${choice(field, other, theirs, !isMine)}</tr>`;
  })}</tbody></table></div>
    <div class="choices row"><button class="first">${say("merge")}</button>
      <button type="button" onClick=${() => answer(null)}>${say("dismiss")}</button></div></form>`;
}
