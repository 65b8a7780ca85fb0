// Figures: each number leads to the list that proves it.
import { get } from "../model/api.js";
import { follow, listAddress } from "../model/address.js";
import { Component, html } from "./dom.js";
import { STAGES, state } from "../model/store.js";
import { label, money, month, number, percent, say, valueLabel } from "../model/words.js";

const ASKED = ["stage", "month", "source", "owner"];
const MONTHS = 12; // shown, the last ones
const [WIDTH, HEIGHT] = [640, 180]; // of a chart, in its own units

export class Figures extends Component {
  state = { stats: null, failure: null };

  componentDidMount() {
    this.look();
  }
  async look() {
    this.setState({ failure: null });
    try {
      const answers = await Promise.all(ASKED.map((by) => get(`leads/stats?by=${by}&${state.place.filters}`)));
      this.setState({ stats: Object.fromEntries(answers.map(({ data }) => [data.by, data])) });
    } catch (refusal) {
      this.setState({ failure: refusal });
    }
  }
  render(_, { stats, failure }) {
    if (failure) {
      return html`<div class="middle"><div class="box" role="alert"><h1>${say("failed")}</h1><p>${failure.message}</p>
        <button class="first" onClick=${() => this.look()}>${say("again")}</button></div></div>`;
    }
    if (!stats) return html`<p class="quiet" role="status">${say("loading")}</p>`;
    return html`<div class="figures"><h1 class="unseen">${say("figures")}</h1>
      <${Pipeline} stats=${stats.stage} />
      <${Months} stats=${stats.month} />
      <${Group} stats=${stats.source} title=${say("bySource")} />
      <${Group} stats=${stats.owner} title=${say("byOwner")} /></div>`;
  }
}

const link = (href, text, more) => html`<a href=${listAddress(href, more)} onClick=${follow}>${text}</a>`;

function Days({ days }) {
  return html`${days.counted ? `${number(days.median)} – ${number(days.p90)}` : "–"}${days.left_out > 0
    && html` <small>${say("leftOut", days.left_out)}</small>`}`;
}

function Row({ figures, name, before, after }) {
  return html`<tr><th scope="row">${name}</th>${before}
    <td>${link(figures.href, number(figures.count))}</td><td>${percent(figures.share)}</td>
    <td>${money(figures.estimated_value)}</td>
    <td>${link(figures.href, number(figures.converted), { status: "converti" })} <small>${percent(figures.conversion_rate)}</small></td>
    <td>${link(figures.href, number(figures.overdue), { next_step: "overdue" })}</td>${after}</tr>`;
}

function Heads({ first, before, after }) {
  return html`<thead><tr><th scope="col">${first}</th>${before}
    ${["count", "share", "value", "convertedCount", "overdueTitle"].map((word) => html`<th key=${word} scope="col">${say(word)}</th>`)}${after}</tr></thead>`;
}

// Where leads are, and which part of those that reached a stage went on to the next.
function Pipeline({ stats }) {
  const by = new Map(stats.values.map((each) => [each.value, each]));
  const steps = STAGES.filter((stage) => stage !== "lost");
  const counts = steps.map((stage) => by.get(stage)?.count ?? 0);
  const reached = counts.map((_, at) => counts.slice(at).reduce((sum, each) => sum + each, 0));
  const most = Math.max(1, ...reached);
  const height = 36;
  const { whole } = stats;
  return html`<section><h2>${say("pipeline")}</h2><p class="quiet">${say("pipelineText")}</p>
    <div class="wide" tabindex="0" role="region" aria-label=${say("pipeline")}><svg viewBox=${`0 0 ${WIDTH} ${height * steps.length}`} role="img" aria-label=${say("pipeline")}>
      ${steps.map((stage, at) => {
    const width = Math.max(2, (reached[at] / most) * (WIDTH - 300));
    return html`<g key=${stage} transform=${`translate(0 ${at * height})`}>
          <text x="120" y="23" text-anchor="end">${label(stage)}</text>
          <rect x="130" y="4" width=${width} height=${height - 8} rx="3" />
          <text x=${138 + width} y="23">${number(reached[at])}${at > 0 && reached[at - 1] ? ` (${percent(reached[at] / reached[at - 1])})` : ""}</text></g>`;
  })}</svg>
    <table>
      <${Heads} first=${label("stage")} after=${html`<th scope="col">${say("reached")}</th><th scope="col">${say("fromBefore")}</th>
        <th scope="col">${say("inStage")}</th>`} />
      <tbody>${stats.values.map((figures) => {
    const at = steps.indexOf(figures.value);
    return html`<${Row} key=${figures.value} figures=${figures} name=${valueLabel("stage", figures.value)} after=${html`
          <td>${at < 0 ? "" : number(reached[at])}</td><td>${at > 0 && reached[at - 1] ? percent(reached[at] / reached[at - 1]) : ""}</td>
          <td><${Days} days=${figures.days_in_stage} /></td>`} />`;
  })}
      <${Row} figures=${whole} name=${say("whole")} after=${html`<td></td><td></td><td><${Days} days=${whole.days_in_stage} /></td>`} /></tbody>
    </table></div>
    <p>${say("toConvert")} : <${Days} days=${whole.days_to_convert} /></p>
    ${stats.sample && html`<p class="quiet">${say("sampled", stats.sample)}</p>`}</section>`;
}

function Months({ stats }) {
  const months = stats.values.slice(-MONTHS);
  const most = Math.max(1, ...months.map(({ count }) => count));
  const step = WIDTH / MONTHS;
  const tall = (count) => (count / most) * (HEIGHT - 50);
  return html`<section><h2>${say("byMonth")}</h2><p class="quiet">${say("byMonthText")}</p>
    <div class="wide" tabindex="0" role="group" aria-label=${say("byMonth")}><svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${say("byMonth")}>
      ${months.map(({ value, count, converted }, at) => html`<g key=${value} transform=${`translate(${at * step} 0)`}>
        <rect class="outline" x="8" width=${step - 16} y=${HEIGHT - 24 - tall(count)} height=${tall(count)} />
        <rect x="8" width=${step - 16} y=${HEIGHT - 24 - tall(converted)} height=${tall(converted)} />
        <text x=${step / 2} y=${HEIGHT - 30 - tall(count)} text-anchor="middle">${number(count)}</text>
        <text x=${step / 2} y=${HEIGHT - 6} text-anchor="middle">${month(value)}</text></g>`)}</svg></div>
    <${Table} stats=${{ ...stats, values: months }} first=${label("created_at")} name=${month} title=${say("byMonth")} /></section>`;
}

function Group({ stats, title }) {
  return html`<section><h2>${title}</h2>
    <${Table} stats=${stats} first=${label(stats.by)} name=${(value) => valueLabel(stats.by, value)} title=${title} />
    ${stats.others > 0 && html`<p class="quiet">${say("others", stats.others)}</p>`}</section>`;
}

function Table({ stats, first, name, title }) {
  return html`<div class="wide" tabindex="0" role="region" aria-label=${title}><table>
    <${Heads} first=${first} after=${html`<th scope="col">${say("toConvert")}</th>`} />
    <tbody>${stats.values.map((figures) => html`<${Row} key=${figures.value} figures=${figures} name=${name(figures.value)}
      after=${html`<td><${Days} days=${figures.days_to_convert} /></td>`} />`)}</tbody></table></div>`;
}
