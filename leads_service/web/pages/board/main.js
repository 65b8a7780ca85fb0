// The page's beginning: who is there, what is looked at, and the frame around it.
import { get, isSignedIn, signIn, watch } from "./model/api.js";
import { addressOf, follow, go, onPlace, place, VIEWS } from "./model/address.js";
import { Board } from "./view/columns.js";
import { Dialog } from "./view/dialogs.js";
import { html, onSubmit, render } from "./view/dom.js";
import { Figures } from "./view/figures.js";
import { Filters } from "./view/filters.js";
import { Import } from "./view/imports.js";
import { begin, beginAhead } from "./model/live.js";
import { Panel } from "./view/panel.js";
import { fail, forget, load, may, onUpdate, state, update } from "./model/store.js";
import { Table } from "./view/table.js";
import { attempt, question, reasonOf, tell } from "./model/changing.js";
import { language, say, speak } from "./model/words.js";

const AGAIN = 2000; // ms after which a service that was not reached is tried again
const TYPED = 70; // ms after the last key of a search before it is asked

// What the leads shown depend on; where it is the same as before, nothing is loaded.
const meant = ({ view, by, sort, filters }) => JSON.stringify([view, by, sort, String(filters)]);

async function arrive() {
  const before = state.place;
  Object.assign(state, { place: place(), failure: null });
  setTimeout(update); // not yet: every card's link names the place, and a search asks for other cards at once
  if (!state.caller || meant(before) === meant(state.place)) return; // only a lead was opened
  if (!showsLeads()) return;
  if (before.view !== state.place.view || before.by !== state.place.by) forget();
  await show();
}

const showsLeads = () => ["board", "table"].includes(state.place.view);

async function show() {
  try {
    if (!showsLeads()) return;
    // The feed first: what changes while the leads are on their way is in it.
    if (await begin()) await load();
  } catch (refusal) {
    fail(refusal);
  }
}

async function enter() {
  try {
    const asked = state.place;
    const begun = showsLeads() ? begin() : null; // not only when it is known who is there
    begun?.catch(() => {}); // it is waited for below
    const { data } = await get("caller");
    update({ caller: data, asked: false, refusedCredential: false, failure: null });
    await begun;
    if (meant(asked) !== meant(state.place)) await show();
    else if (showsLeads()) await load();
  } catch (refusal) {
    fail(refusal);
  }
}

async function retry() {
  update({ failure: null });
  await (state.caller ? show() : enter());
}

let again = null;

watch({
  unreached() {
    update({ offline: true });
    clearTimeout(again); // once for all that were not answered
    again = setTimeout(() => state.caller || !state.offline || enter(), AGAIN); // later on, the feed looks again
  },
  reached() {
    if (!state.offline) return;
    update({ offline: false });
    tell(say("back"));
    if (state.caller) show();
    else enter();
  },
  unauthorized: (hadCredential) => {
    signIn(null);
    update({ caller: null, asked: true, refusedCredential: hadCredential });
  },
  slow: (count) => update({ slow: count > 0 }),
});

function SignIn() {
  const act = (event) => {
    signIn(new FormData(event.target).get("credential").trim());
    enter();
  };
  return html`<main id="main" class="middle">
    <form class="box" onSubmit=${onSubmit(act)}>
      <h1>${say("signInTitle")}</h1>
      <p>${say("signInText")}</p>
      <label>${say("credential")}
        <input name="credential" type="password" required autocomplete="off"
          aria-invalid=${state.refusedCredential} aria-describedby="refused" /></label>
      <p id="refused" class="wrong" role="alert">${state.refusedCredential && say("notAccepted")}</p>
      <button class="first">${say("signIn")}</button>
    </form>
  </main>`;
}

let typing = null;

function Header() {
  const { view, filters } = state.place;
  const search = (event) => {
    const changes = { q: event.target.value.trim(), ...(showsLeads() ? {} : { view: "table" }) };
    beginAhead(place(addressOf(changes)).filters);
    clearTimeout(typing);
    typing = setTimeout(() => go(changes, { instead: true }), TYPED);
  };
  const views = VIEWS.filter((each) => each !== "import" || may("admin"));
  return html`<header>
    <nav aria-label=${say("title")}>
      ${views.map((each) => html`<a key=${each} href=${addressOf({ view: each === "board" ? null : each, lead: null })}
        aria-current=${each === view ? "page" : null} onClick=${follow}>${say(each)}</a>`)}
    </nav>
    <form role="search" onSubmit=${onSubmit(() => {})}>
      <input type="search" aria-label=${say("search")} placeholder=${say("searchHint")} maxlength="255"
        defaultValue=${filters.get("q") ?? ""} key=${state.searches} onInput=${search} />
    </form>
    <div class="acts">
      ${may("editor") && html`<button class="first" onClick=${newLead}>${say("newLead")}</button>`}
      <button onClick=${() => (speak(language() === "fr" ? "en" : "fr"), update())}
        lang=${language() === "fr" ? "en" : "fr"}>${say("language")}</button>
      ${isSignedIn() && html`<button onClick=${() => (signIn(null), forget(), update({ caller: null, asked: true }))}>
        ${say("signOut")}</button>`}
    </div>
  </header>`;
}

async function newLead() {
  const lead = await question({ kind: "new" });
  if (lead) go({ lead: lead.id });
}

const SHOWN = { board: Board, table: Table, figures: Figures, import: Import };

function Page() {
  if (state.asked) return html`<${SignIn} />`;
  if (state.failure) {
    return html`<main id="main" class="middle"><div class="box" role="alert">
      <h1>${say("failed")}</h1><p>${reasonOf(state.failure)}</p>
      <button class="first" onClick=${retry}>${say("again")}</button>
      ${state.failure.status === 422 && html`<a class="button" href=${addressOf({}, "")} onClick=${follow}>${say("noFilters")}</a>`}
      ${isSignedIn() && html`<button onClick=${() => (signIn(null), update({ asked: true, failure: null }))}>
        ${say("signOut")}</button>`}
    </div></main>`;
  }
  const { view, lead } = state.place;
  const isEmpty = view === "board" && state.whole?.count === 0 && !state.place.filters.size;
  return html`<div class="page">
    <a class="skip" href="#main">${say("skip")}</a>
    <${Header} />
    ${showsLeads() && html`<${Filters} />`}
    <div class="stage">
      <main id="main" class=${state.caller && !isEmpty ? view : ""} tabindex="-1" aria-busy=${!state.caller}>
        ${!state.caller ? html`<p class="quiet" role="status">${say("loading")}</p>`
    : isEmpty ? html`<${Welcome} />`
      : view === "import" && !may("admin") ? html`<p class="wrong" role="alert">${say("mayNotImport")}</p>` : html`<${SHOWN[view]} key=${view} />`}
      </main>
      ${lead && state.caller && html`<${Panel} key=${lead} id=${lead} />`}
    </div>
  </div>`;
}

function Welcome() {
  return html`<div class="middle"><div class="box">
    <h1>${say("welcome")}</h1>
    <p>${say("welcomeText")}</p>
    ${may("admin") && html`<a class="button first" href=${addressOf({ view: "import" })} onClick=${follow}>${say("importList")}</a>`}
    ${may("editor") && html`<button onClick=${newLead}>${say("firstLead")}</button>`}
  </div></div>`;
}

function undoSaid() {
  const { undo } = state.said;
  update({ said: null });
  undo();
}

function Frame() {
  const { said, offline, slow, dialog } = state;
  return html`
    ${offline && html`<p class="banner" role="alert">${say("offline")}</p>`}
    ${slow && !offline && html`<p class="banner" role="status">${say("slow")}</p>`}
    <${Page} />
    <div class="said" role="status">${said && html`<span>${said.text}</span>`}
      ${said?.undo && html`<button onClick=${undoSaid}>${say("cancel")}</button>`}</div>
    ${dialog && html`<${Dialog} key=${dialog.kind} dialog=${dialog} />`}`;
}

addEventListener("keydown", (event) => {
  const typed = event.target.closest?.("input, textarea, select, dialog");
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && !typed && state.said?.undo) {
    event.preventDefault();
    undoSaid();
  }
});
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.status !== undefined) attempt(() => Promise.reject(event.reason)); // one that nobody expected
});
onPlace(arrive);
const page = document.getElementById("page");
page.replaceChildren(); // preact would leave there what it has not made
onUpdate(() => {
  document.title = `${say(state.place.view)} – ${say("title")}`;
  render(html`<${Frame} />`, page);
});
document.documentElement.lang = language();
update();
enter();
