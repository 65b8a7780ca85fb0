// The fields of a lead, each edited in place and saved when it is left.
import { change, move, reasonOf } from "../model/changing.js";
import { Component, html } from "./dom.js";
import { STAGES, may, valueOf } from "../model/store.js";
import { label, say, textOf } from "../model/words.js";

export const FIELDS = [
  ["name", "text"], ["stage", STAGES], ["notes.next_step_date", "date"], ["notes.next_step_note", "text"],
  ["notes.estimated_value", "number"], ["owner", "text"], ["company", "text"], ["contact", "text"], ["email", "email"],
  ["phone", "tel"], ["address", "text"], ["city", "text"], ["source", "text"], ["segment", "text"], ["tags", "text"],
  ["interest_level", "number"], ["status", ["active", "archived", "converti"]], ["notes.last_contact", "date"],
  ["notes.lost_reason", "text"], ["notes.text", "long"],
];

const MOST_NOTES = 50; // on the page; the dossier has all of them
const SHOWN = new Set([...FIELDS.map(([field]) => field), "notes.merged"]); // merges are told by the history

// What imports and other programs keep in the notes under names of their own: to be read, not to be changed.
export function OtherNotes({ lead }) {
  const others = Object.entries(lead.notes).map(([key, value]) => [`notes.${key}`, value])
    .filter(([field, value]) => !SHOWN.has(field) && value !== null && value !== "");
  return others.length > 0 && html`<section><h2>${say("otherNotes")}</h2><dl>
    ${others.slice(0, MOST_NOTES).map(([field, value]) => html`<div class="field" key=${field}><dt class="quiet">${label(field)}</dt>
      <dd>${textOf(field, value).slice(0, 500)}</dd></div>`)}</dl></section>`;
}

const text = (field, value) => (value === null ? "" : field === "tags" ? value.join(", ") : String(value));

export class Field extends Component {
  state = { draft: null, base: null, wrong: null };

  async keep() {
    const { lead, field, type } = this.props;
    const { draft, base } = this.state;
    if (draft === null || draft === text(field, valueOf(base, field))) {
      this.setState({ draft: null, wrong: null });
      return;
    }
    const typed = draft.trim();
    const value = field === "tags" ? typed.split(",").map((tag) => tag.trim()).filter(Boolean)
      : typed === "" ? (field === "interest_level" ? 0 : null) : type === "number" ? Number(typed) : typed;
    this.setState({ wrong: null });
    try {
      await change(lead.id, { [field]: value }, say("saved", label(field)), base);
      if (this.state.draft === draft) this.setState({ draft: null });
    } catch (refusal) {
      this.setState({ draft, wrong: reasonOf(refusal) }); // what was typed stays
    }
  }

  render({ lead, field, type }, { draft, base, wrong }) {
    const value = valueOf(lead, field);
    if (field === "notes.lost_reason" && value === null) return null;
    const id = `field-${field}`;
    const meanwhile = draft !== null && text(field, value) !== text(field, valueOf(base, field)) && text(field, value) !== draft;
    const typing = {
      id, disabled: !may("editor"), "aria-invalid": Boolean(wrong), "aria-describedby": `${id}-said`, autocomplete: "off",
      value: draft ?? (type === "date" && value !== null ? String(value).slice(0, 10) : text(field, value)),
      onFocus: () => this.setState({ base: this.state.draft === null ? lead : base }),
      onInput: (event) => this.setState({ draft: event.target.value, base: base ?? lead }),
      onBlur: () => this.keep(),
      onKeyDown: (event) => {
        if (event.key === "Escape" && this.state.draft !== null) {
          event.preventDefault();
          this.setState({ draft: null, wrong: null });
        } else if (event.key === "Enter" && type !== "long") this.keep();
      },
    };
    const choose = (event) => (field === "stage" ? move(lead.id, event.target.value, "stage")
      : change(lead.id, { [field]: event.target.value }, say("saved", label(field))).catch((refusal) => this.setState({ wrong: reasonOf(refusal) })));
    const input = Array.isArray(type)
      ? html`<select id=${id} value=${value ?? ""} disabled=${!may("editor")} onChange=${choose}>
          ${value === null && html`<option value=""></option>`}
          ${type.map((word) => html`<option key=${word} value=${word}>${label(word)}</option>`)}</select>`
      : type === "long" ? html`<textarea rows="4" ...${typing}></textarea>`
        : html`<input type=${type} step="any" ...${typing} />`;
    return html`<div class="field"><label for=${id}>${label(field)}</label>${input}<${Reach} field=${field} value=${value} />
      <span id=${`${id}-said`} class="wrong">${wrong ?? (meanwhile ? say("changedMeanwhile", textOf(field, value)) : "")}</span></div>`;
  }
}

// What calls or writes to somebody.
function Reach({ field, value }) {
  if (value === null || !["phone", "email"].includes(field)) return null;
  const to = field === "email" ? [value] : value.split(" / ").filter((each) => /^\+?\d/.test(each));
  const [scheme, word] = field === "email" ? ["mailto:", "write"] : ["tel:", "call"];
  return html`<span class="reach">${to.map((each) => html`<a key=${each} href=${scheme + each}>${say(word, to.length > 1 ? each : "")}</a>`)}</span>`;
}
