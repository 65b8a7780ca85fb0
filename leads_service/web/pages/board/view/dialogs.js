// What a person is asked before something is done. A touch outside closes nothing, so that nothing is lost.
import { follow, addressOf } from "../model/address.js";
import { create, reasonOf } from "../model/changing.js";
import { Component, createRef, html, onSubmit } from "./dom.js";
import { STAGES, state, valueOf } from "../model/store.js";
import { label, say, textOf, valueLabel } from "../model/words.js";
import { Merge } from "./duplicates.js";
import { Erase } from "./person.js";

const draft = {}; // of a new lead, until it is created

export class Dialog extends Component {
  box = createRef();

  componentDidMount() {
    this.box.current.showModal();
  }
  render({ dialog }) {
    const Asked = KINDS[dialog.kind];
    const leave = (event) => {
      event.preventDefault();
      dialog.answer(null);
    };
    return html`<dialog ref=${this.box} aria-labelledby="asked" onCancel=${leave}><${Asked} ...${dialog} /></dialog>`;
  }
}

function Move({ lead, answer }) {
  const { by } = state.place;
  const columns = by === "stage" ? STAGES : state.columns.map((column) => column.value);
  return html`<h2 id="asked">${say("moveLead", lead.name)}</h2>
    <div class="choices">${columns.filter((value) => value !== valueOf(lead, by)).map((value) => html`
      <button key=${String(value)} onClick=${() => answer({ to: value })}>${valueLabel(by, value)}</button>`)}</div>
    <button onClick=${() => answer(null)}>${say("dismiss")}</button>`;
}

function Lost({ lead, answer }) {
  const act = (event) => answer(new FormData(event.target).get("reason").trim());
  return html`<form onSubmit=${onSubmit(act)}>
    <h2 id="asked">${say("lostTitle", lead.name)}</h2>
    <label>${say("lostReason")}<input name="reason" maxlength="500" /></label>
    <div class="choices row"><button class="first">${say("lost")}</button>
      <button type="button" onClick=${() => answer("")}>${say("skipReason")}</button>
      <button type="button" onClick=${() => answer(null)}>${say("dismiss")}</button></div></form>`;
}

function Won({ lead, answer }) {
  return html`<h2 id="asked">${say("wonTitle", lead.name)}</h2><p>${say("wonText")}</p>
    <div class="choices row"><button class="first" onClick=${() => answer("convert")}>${say("convert")}</button>
      <button onClick=${() => answer("won")}>${say("onlyWon")}</button>
      <button onClick=${() => answer(null)}>${say("dismiss")}</button></div>`;
}

function Remove({ lead, answer }) {
  return html`<h2 id="asked">${say("removeTitle", lead.name)}</h2>
    <div class="choices row"><button class="danger" onClick=${() => answer(true)}>${say("remove")}</button>
      <button onClick=${() => answer(null)}>${say("dismiss")}</button></div>`;
}

function Conflict({ lead, fields, changes, answer }) {
  return html`<h2 id="asked">${say("conflictTitle")}</h2><p>${say("conflict", lead.name)}</p>
    <table><thead><tr><td></td><th scope="col">${say("yours")}</th><th scope="col">${say("theirs")}</th></tr></thead>
    <tbody>${fields.map((field) => html`<tr key=${field}><th scope="row">${label(field)}</th>
      <td>${textOf(field, changes[field])}</td><td>${textOf(field, valueOf(lead, field))}</td></tr>`)}</tbody></table>
    <div class="choices row"><button class="first" onClick=${() => answer("mine")}>${say("keepYours")}</button>
      <button onClick=${() => answer(null)}>${say("keepTheirs")}</button></div>`;
}

const NEW = [
  ["name", "text"], ["company", "text"], ["email", "email"], ["phone", "tel"], ["city", "text"], ["source", "text"],
  ["owner", "text"], ["notes.next_step_date", "date"], ["notes.next_step_note", "text"], ["notes.estimated_value", "number"],
];

class New extends Component {
  form = createRef();
  state = { fields: {}, sentence: null, other: null };

  async act() {
    const body = {};
    for (const [field, typed] of Object.entries(draft)) {
      if (!typed.trim()) continue;
      const value = field.endsWith("estimated_value") ? Number(typed) : typed.trim();
      if (field.startsWith("notes.")) (body.notes ??= {})[field.slice(6)] = value;
      else body[field] = value;
    }
    if (!body.name) {
      this.setState({ fields: { name: [say("required")] }, sentence: null });
      this.form.current.elements.name.focus();
      return;
    }
    try {
      const lead = await create(body);
      for (const field of Object.keys(draft)) delete draft[field];
      this.props.answer(lead);
    } catch (refusal) {
      const taken = refusal.code === "email_taken" ? { email: [refusal.message] } : {};
      const fields = { ...refusal.fields, ...taken };
      const known = NEW.some(([field]) => field.split(".")[0] in fields);
      this.setState({ fields, sentence: known ? null : reasonOf(refusal), other: refusal.answer?.existing_id });
      const first = NEW.find(([field]) => field.split(".")[0] in fields);
      if (first) this.form.current.elements[first[0]].focus();
    }
  }

  render({ answer }, { fields, sentence, other }) {
    return html`<form novalidate ref=${this.form} onSubmit=${onSubmit(() => this.act())}>
      <h2 id="asked">${say("newLead")}</h2>
      <div class="fields">${NEW.map(([field, type]) => {
    const wrong = fields[field.split(".")[0]];
    return html`<label key=${field}>${label(field)}${field === "name" ? " *" : ""}
          <input name=${field} type=${type} step="any" required=${field === "name"} defaultValue=${draft[field] ?? ""} autocomplete="off"
            onInput=${(event) => (draft[field] = event.target.value)}
            aria-invalid=${Boolean(wrong)} aria-describedby=${wrong ? `wrong-${field}` : null} />
          ${wrong && html`<span class="wrong" id=${`wrong-${field}`} role="alert">${wrong.join(" ")}
            ${field === "email" && other && html` <a href=${addressOf({ lead: other })}
              onClick=${(event) => (follow(event), answer(null))}>${say("seeOther")}</a>`}</span>`}</label>`;
  })}</div>
      ${sentence && html`<p class="wrong" role="alert">${sentence}</p>`}
      <div class="choices row"><button class="first">${say("create")}</button>
        <button type="button" onClick=${() => answer(null)}>${say("dismiss")}</button></div></form>`;
  }
}

const KINDS = { move: Move, lost: Lost, won: Won, remove: Remove, conflict: Conflict, new: New, merge: Merge, erase: Erase };
