// The person behind a lead, for admins: what is known of them, and how they are forgotten.
import { get, post } from "../model/api.js";
import { attempt, forgetLead, question, reasonOf, save } from "../model/changing.js";
import { Component, html, onSubmit } from "./dom.js";
import { number, say } from "../model/words.js";

export function Person({ lead }) {
  // One file for each part that it has.
  const dossier = () => attempt(async () => {
    for (let part = 1, query = ""; query !== undefined; part++) {
      const page = await get(`leads/${lead.id}/dossier${query}`, "text/html");
      save(page, "text/html", `dossier-${lead.name}${part > 1 ? ` (${part})` : ""}.html`);
      query = page.match(/<a rel="next" href="([^"]*)"/)?.[1];
    }
  });
  const erase = async () => {
    if (await question({ kind: "erase", lead })) forgetLead(lead.id, say("erased"));
  };
  return html`<section><h2>${say("person")}</h2><p class="choices row">
    <button onClick=${dossier}>${say("dossier")}</button>
    <button class="danger" onClick=${erase}>${say("erase")}</button></p></section>`;
}

// First what would go, then, if the person still means it, for good.
export class Erase extends Component {
  state = { places: null, wrong: null };

  async act(form) {
    const { lead, answer } = this.props;
    const { places } = this.state;
    const asked = { reason: form.elements.reason.value, confirm: form.elements.confirm.value, dry_run: !places };
    try {
      const { data } = await post(`leads/${lead.id}/erase`, asked);
      if (places) answer(true);
      else this.setState({ places: data.places, wrong: null });
    } catch (refusal) {
      this.setState({ wrong: reasonOf(refusal) });
    }
  }
  render({ lead, answer }, { places, wrong }) {
    return html`<form onSubmit=${onSubmit((event) => this.act(event.target))}>
      <h2 id="asked">${say("eraseTitle", lead.name)}</h2><p>${say("eraseText")}</p>
      <label>${say("eraseReason")}<input name="reason" required maxlength="500" /></label>
      <label>${say("eraseConfirm", lead.email ?? lead.name)}<input name="confirm" required autocomplete="off" /></label>
      ${places && html`<p role="status">${say("erasePlaces")}</p>
        <ul>${places.map(({ table, rows }) => html`<li key=${table}>${table} : ${number(rows)}</li>`)}</ul>`}
      ${wrong && html`<p class="wrong" role="alert">${wrong}</p>`}
      <div class="choices row"><button class=${places ? "danger" : "first"}>${say(places ? "eraseForGood" : "eraseTry")}</button>
        <button type="button" onClick=${() => answer(null)}>${say("dismiss")}</button></div></form>`;
  }
}
