// The board: columns of cards, which are moved by the mouse or by a menu.
import { addressOf, follow, leadAddresses } from "../model/address.js";
import { move, question } from "../model/changing.js";
import { Component, createRef, html } from "./dom.js";
import { isOpen, isOverdue, may, more, nextStep, state, unfold, update } from "../model/store.js";
import { day, daysSince, label, language, money, say, valueLabel } from "../model/words.js";

const narrow = matchMedia("(max-width: 700px)"); // as in board.css
let dragged = null; // the id of the lead under the mouse

export function Board() {
  if (!state.columns) return html`<p class="quiet" role="status">${say("loading")}</p>`;
  const { columns, column: current } = state;
  const names = columns.map((column) => valueLabel(state.place.by, column.value));
  const choose = (event) => {
    const chosen = columns[event.target.value];
    update({ column: Number(event.target.value) });
    if (!isOpen(chosen)) unfold(chosen.value, true);
  };
  return html`<h1 class="unseen">${say("board")}</h1>
    <label class="phone">${say("column")}
      <select value=${current} onChange=${choose}>
        ${columns.map(({ figures }, at) => html`<option key=${at} value=${at}>${names[at]}${figures ? ` (${figures.count})` : ""}</option>`)}
      </select></label>
    <div class="columns">
      ${columns.map((column, at) => html`<${Column} key=${String(column.value)} column=${column} name=${names[at]}
        isCurrent=${at === Math.min(current, columns.length - 1)} />`)}
    </div>
    ${state.whole?.others > 0 && html`<p class="quiet">${say("others", state.whole.others)}</p>`}`;
}

function Column({ column, name, isCurrent }) {
  const { figures, value, status, ids, cursor } = column;
  const foldable = state.place.by === "stage" && ["won", "lost"].includes(value);
  if (!isOpen(column)) {
    return html`<section class=${`column folded ${isCurrent ? "current" : ""}`} aria-label=${name} ...${target(value)}>
      <button aria-expanded="false" aria-label=${say("unfold", name)} onClick=${() => unfold(value, true)}>
        <span>${name}</span> <b>${figures?.count ?? ""}</b></button></section>`;
  }
  const address = leadAddresses();
  const filter = value === null ? { without: state.place.by } : { [state.place.by]: value };
  return html`<section class=${`column ${isCurrent ? "current" : ""}`} aria-label=${name} ...${target(value)}>
    <div class="head">
      <h2>${name}${figures && html` <b class="count">${figures.count}</b>`}</h2>
      ${foldable && html`<button class="bare" aria-expanded="true" aria-label=${say("fold", name)}
        onClick=${() => unfold(value, false)}>−</button>`}
      <p>${figures && figures.estimated_value > 0 && html`<span>${money(figures.estimated_value)}</span> `}
        ${figures && figures.overdue > 0 && html`<a class="overdue" onClick=${follow}
          href=${addressOf({ view: "table", next_step: "overdue", ...filter })}>${say("overdueCount", figures.overdue)}</a>`}</p>
    </div>
    <ul class="cards" aria-busy=${column.busy}>
      ${ids.slice(0, column.isOld ? ids.length : state.most).map((id) => html`<${Card} key=${id} lead=${state.leads.get(id)}
        since=${state.since.get(id)} isChanged=${state.changed.has(id)} isShown=${state.place.lead === id}
        spoken=${language()} isOld=${column.isOld && column.busy} address=${address(id)} mayMove=${may("editor")} />`)}
      ${status === "ready" && !ids.length && html`<li class="quiet">${say("emptyColumn")}</li>`}
      ${["loading", "new"].includes(status) && !ids.length && html`<li class="quiet">${say("loading")}</li>`}
      ${column.error && html`<li class="wrong">${column.error.message}
        <button onClick=${() => more(column)}>${say("again")}</button></li>`}
      ${cursor && ids.length <= state.most && !column.error && html`<li><${More} list=${column} /></li>`}
    </ul>
  </section>`;
}

// What makes a column take the card that is dropped on it.
function target(value) {
  const mark = (event, on) => event.currentTarget.classList.toggle("target", on);
  return {
    onDragOver(event) {
      if (!dragged) return;
      event.preventDefault();
      mark(event, true);
    },
    onDragLeave: (event) => mark(event, false),
    onDrop(event) {
      event.preventDefault();
      mark(event, false);
      if (dragged) move(dragged, value);
      dragged = null;
    },
  };
}

// A button that shows the next leads, and presses itself when it comes into sight.
export class More extends Component {
  button = createRef();

  componentDidMount() {
    this.observer = new IntersectionObserver(([entry]) => entry.isIntersecting && more(this.props.list), { rootMargin: "300px" });
    this.observer.observe(this.button.current);
  }
  componentDidUpdate() {
    this.observer.unobserve(this.button.current); // seen anew, since it may still be in sight
    this.observer.observe(this.button.current);
  }
  componentWillUnmount() {
    this.observer.disconnect();
  }
  render({ list }) {
    return html`<button class="more" ref=${this.button} onClick=${() => more(list)} disabled=${list.busy}>${say(list.busy ? "loading" : "more")}</button>`;
  }
}

const initials = (owner) => owner.split(/[\s.@_-]+/, 2).map((part) => part.charAt(0).toUpperCase()).join("");

export function Step({ lead }) {
  const date = nextStep(lead);
  if (!date && !lead.notes.next_step_note) return null;
  return html`<span class=${`step ${isOverdue(lead) ? "overdue" : ""}`}>
    ${date && html`<time datetime=${date}>${day(date)}</time>`}${isOverdue(lead) && html`<span class="unseen"> (${say("overdue")})</span>`}
    ${lead.notes.next_step_note && ` ${lead.notes.next_step_note}`}</span>`;
}

class Card extends Component {
  // Of hundreds of cards only those are drawn that changed, and will not be gone when the answer is there.
  shouldComponentUpdate(next) {
    return !next.isOld && Object.keys(next).some((name) => next[name] !== this.props[name]);
  }
  render({ lead, since, isChanged, isShown, address, mayMove }) {
    const value = Number(lead.notes.estimated_value);
    const start = (event) => {
      dragged = lead.id;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", lead.name);
    };
    return html`<li class=${`card ${isChanged ? "changed" : ""} ${isShown ? "shown" : ""}`} data-card=${lead.id}
        draggable=${mayMove && !narrow.matches} onDragStart=${start} onDragEnd=${() => (dragged = null)}>
      <p class="who"><a class="open" draggable=${false} href=${address} onClick=${follow} aria-label=${say("openLead", lead.name)}>
          ${lead.name}</a>${lead.company && html` <span>${lead.company}</span>`}</p>
      ${lead.owner && html`<abbr class="owner" title=${`${label("owner")} : ${lead.owner}`}>${initials(lead.owner)}</abbr>`}
      ${mayMove && html`<button class="bare move" aria-haspopup="dialog" aria-label=${say("moveLead", lead.name)}
        title=${say("moveTo")} onClick=${() => chooseColumn(lead)}>⇄</button>`}
      <p class="facts"><${Step} lead=${lead} />
        ${since && html` <span title=${say("daysInStage", daysSince(since))}>${say("days", daysSince(since))}</span>`}
        ${value > 0 && html` <span>${money(value)}</span>`}
        ${lead.tags.map((tag) => html` <span class="tag" key=${tag}>${tag}</span>`)}</p>
    </li>`;
  }
}

async function chooseColumn(lead) {
  const value = await question({ kind: "move", lead });
  if (value !== null) move(lead.id, value.to);
}
