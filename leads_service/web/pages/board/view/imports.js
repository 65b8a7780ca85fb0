// A file of leads: tried first, so that a person sees what was understood of it, then brought in.
import { importFile } from "../model/api.js";
import { addressOf, follow } from "../model/address.js";
import { reasonOf, save } from "../model/changing.js";
import { Component, html, onSubmit } from "./dom.js";
import { forget, STAGES } from "../model/store.js";
import { label, number, say } from "../model/words.js";

const SHOWN = 100; // rejects on the page; the file to download has all that the answer names

export class Import extends Component {
  state = { file: null, report: null, isTrial: true, wrong: null, busy: false, words: {}, known: "skip" };

  async run(file, isTrial) {
    const query = new URLSearchParams({ on_conflict: this.state.known });
    for (const [word, meaning] of Object.entries(this.state.words)) if (meaning) query.append("map", `${word}=${meaning}`);
    if (isTrial) query.set("dry_run", "true");
    this.setState({ file, isTrial, busy: true, wrong: null });
    try {
      // A file of the disk may change or go away between trial and import; this is what was tried.
      this.bytes ??= new Blob([await file.arrayBuffer()]);
      const { data } = await importFile(query, this.bytes);
      this.setState({ report: data });
      if (!isTrial) forget();
    } catch (refusal) {
      this.setState({ report: null, wrong: reasonOf(refusal) });
    } finally {
      this.setState({ busy: false });
    }
  }
  choose(file) {
    if (!file) return;
    this.bytes = null;
    this.setState({ words: {} }, () => this.run(file, true));
  }
  set(changes) {
    this.setState(changes, () => this.run(this.state.file, true));
  }
  // The rejected rows as they stand in the file, each with its reason in front: to be mended and brought in again.
  async download() {
    const { report, file } = this.state;
    const { encoding, delimiter, format, heading_line: heading } = report.understood;
    const rows = format === "csv" && delimiter
      ? new TextDecoder(encoding || "utf-8").decode(await this.bytes.arrayBuffer()).split(/\r\n|\r|\n/) : null;
    const cell = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
    const by = rows ? delimiter : ";";
    const record = (line) => {
      let record = rows[line - 1] ?? "";
      while ((record.split('"').length - 1) % 2 && line < rows.length) record += `\n${rows[line++]}`;
      return record;
    };
    const head = ["line", "column", "code", "message"].join(by);
    const lines = [rows ? head + by + record(heading) : head, ...report.rejects.map((each) => {
      const reason = [each.line, cell(each.column), cell(each.code), cell(each.message)].join(by);
      return rows ? reason + by + record(each.line) : reason;
    })];
    save(`\uFEFF${lines.join("\r\n")}\r\n`, "text/csv", `rejects-${file.name.replace(/\.[^.]*$/, "")}.csv`);
  }

  render(_, { file, report, isTrial, wrong, busy }) {
    const drop = (event) => {
      event.preventDefault();
      this.choose(event.dataTransfer.files[0]);
    };
    return html`<div class="import"><h1>${say("import")}</h1>
      <label class="drop" onDragOver=${(event) => event.preventDefault()} onDrop=${drop}>
        <span>${say(file ? "otherFile" : "dropFile")}</span><small>${say("fileKinds")}</small>
        <input type="file" accept=".csv,.tsv,.txt,.xlsx,.json,.ndjson" disabled=${busy}
          onChange=${(event) => (this.choose(event.target.files[0]), (event.target.value = ""))} /></label>
      <p role="status">${busy ? say(isTrial ? "reading" : "importing", file.name) : report ? say(isTrial ? "trialTitle" : "doneTitle", file.name) : ""}</p>
      ${wrong && html`<p class="wrong" role="alert">${wrong}</p>`}
      ${report && !busy && html`<${Report} report=${report} isTrial=${isTrial} importer=${this} />`}</div>`;
  }
}

function Report({ report, isTrial, importer }) {
  const { known, words, file } = importer.state;
  const coming = report.created + report.updated;
  const counts = [
    [report.created, isTrial ? "wouldCreate" : "didCreate"], [report.updated, isTrial ? "wouldUpdate" : "didUpdate"],
    [report.skipped, "wouldSkip"], [report.rejected, "wouldReject"]];
  return html`<dl class="counts">${counts.map(([n, word]) => html`<div key=${word}><dt>${say(word)}</dt><dd>${number(n)}</dd></div>`)}</dl>
    ${isTrial ? html`<div class="choices row">
      <label>${say("knownLeads")}<select value=${known} onChange=${(event) => importer.set({ known: event.target.value })}>
        <option value="skip">${say("skipKnown")}</option><option value="update">${say("updateKnown")}</option></select></label>
      <button class="first" disabled=${!coming} onClick=${() => importer.run(file, false)}>${say("doImport", coming)}</button></div>`
    : html`<p><a class="button first" href=${addressOf({}, "")} onClick=${follow}>${say("goBoard")}</a></p>`}
    <${Understood} understood=${report.understood} isTrial=${isTrial} words=${words} importer=${importer} />
    ${report.rejects.length > 0 && html`<section><h2>${say("rejects")}</h2>
      <button onClick=${() => importer.download()}>${say("download")}</button>
      ${report.rejected > SHOWN && html`<p class="quiet">${say("rejectsShown", Math.min(SHOWN, report.rejects.length), report.rejected)}</p>`}
      <div class="wide" tabindex="0" role="region" aria-label=${say("rejects")}><table>
        <thead><tr><th scope="col">${say("line")}</th><th scope="col">${say("column")}</th><th scope="col">${say("reason")}</th></tr></thead>
        <tbody>${report.rejects.slice(0, SHOWN).map((each, at) => html`<tr key=${at}><td>${each.line}</td><td>${label(each.column)}</td>
          <td>${each.message}</td></tr>`)}</tbody></table></div></section>`}`;
}

function Understood({ understood, isTrial, words, importer }) {
  const { format, encoding, delimiter, columns, notes, assumptions, unknown_words: unknown } = understood;
  const mapped = [...Object.entries(columns).map(([heading, field]) => [heading, label(field)]),
    ...Object.keys(notes).map((heading) => [heading, say("notesOf")])];
  const asked = Object.values(unknown).flatMap((found) => Object.entries(found));
  const meanings = [...STAGES, "active", "archived", "converti"];
  return html`${isTrial && (asked.length > 0 || Object.keys(words).length > 0) && html`<section><h2>${say("unknownWords")}</h2>
      <form class="fields" onSubmit=${onSubmit(() => {})}>
      ${[...new Map([...Object.keys(words).map((word) => [word, 0]), ...asked])].map(([word, n]) => html`<label key=${word}>${say("wordMeans", word, n)}
        <select value=${words[word] ?? ""} onChange=${(event) => importer.set({ words: { ...words, [word]: event.target.value } })}>
          <option value="">${say("noMeaning")}</option>
          ${meanings.map((each) => html`<option key=${each} value=${each}>${label(each)}</option>`)}</select></label>`)}</form></section>`}
    <section><h2>${say("understood")}</h2>
      <p>${say("readAs", format, encoding, delimiter === "\t" ? "tab" : delimiter)}</p>
      <ul>${assumptions.map((each) => html`<li key=${each}>${each}</li>`)}</ul>
      ${mapped.length > 0 && html`<div class="wide" tabindex="0" role="region" aria-label=${say("understood")}><table>
        <thead><tr><th scope="col">${say("heading")}</th><th scope="col">${say("goesTo")}</th></tr></thead>
        <tbody>${mapped.map(([heading, field]) => html`<tr key=${heading}><td>${heading}</td><td>${field}</td></tr>`)}</tbody></table></div>`}
    </section>`;
}
