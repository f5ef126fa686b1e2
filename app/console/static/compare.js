// How the answers of two versions differ: the report of GET /admin/compare.

import { html, useState } from "./vendor/htm-preact.js";
import { ask, inPath } from "./api.js";
import { Badge, Failure, Table, plural } from "./parts.js";

const SEGMENTS = {
  all: () => "all",
  head: (n) => `head: more than ${plural(n, "interaction")}`,
  tail: (n) => `tail: 1 to ${n}`,
  new: () => "new: no known item",
};
const MAX_USERS = 1_000;
const MAX_K = 100;

/** The report that was asked for last, kept while other panels are looked at. */
export function useComparison() {
  const [state, setState] = useState({ report: null, error: null, isBusy: false });
  const compare = async (query) => {
    setState({ report: null, error: null, isBusy: true });
    try {
      const report = await ask("GET", `/admin/compare?${query}`);
      setState({ report, error: null, isBusy: false });
    } catch (error) {
      setState({ report: null, error, isBusy: false });
    }
  };
  return { ...state, compare };
}

/** Args: `deployment`; `models`, all published; `comparison`, of useComparison. */
export function Compare({ deployment, models, comparison: { report, error, isBusy, compare } }) {
  if (!deployment) return html`<p>Loading …</p>`;
  const versions = models.map((model) => model.version);
  return html`<section aria-labelledby="compare-heading">
    <h2 id="compare-heading">Compare two versions</h2>
    ${versions.length < 2
      ? html`<p>There is no other version to compare with.</p>`
      : html`<${Question} deployment=${deployment} versions=${versions} isBusy=${isBusy} onAsk=${compare} />`}
    <${Failure} error=${error} />
    <p role="status">${isBusy ? "Comparing: requests of users go first, so this may take a minute …" : ""}</p>
    ${report && html`<${Report} report=${report} />`}
  </section>`;
}

function Question({ deployment, versions, isBusy, onAsk }) {
  const [chosen, setChosen] = useState({ source: "replayed", users: "200", k: "10" });
  const a = chosen.a ?? deployment.active ?? versions[0];
  const likely = [deployment.shadow?.version, deployment.canary?.version, ...versions.toReversed()];
  const b = chosen.b ?? likely.find((version) => version && version !== a);
  const set = (name) => (event) => setChosen({ ...chosen, [name]: event.target.value });
  const submit = (event) => {
    event.preventDefault();
    const { source, users, k } = chosen;
    onAsk(`a=${inPath(a)}&b=${inPath(b)}&source=${source}&users=${users}&k=${k}`);
  };
  const version = (name, label, value) => html`<div><label for="compare-${name}">${label}</label>
    <select id="compare-${name}" value=${value} onChange=${set(name)}>
      ${versions.map((one) => html`<option value=${one}>${one}</option>`)}</select></div>`;
  const isShadowed = chosen.source === "shadowed";
  return html`<form class="line" onSubmit=${submit}>
    ${version("a", "Version", a)}
    ${version("b", "Compared with", b)}
    <div><label for="compare-source">Requests</label>
      <select id="compare-source" value=${chosen.source} onChange=${set("source")}>
        <option value="replayed">users asked about again</option>
        <option value="shadowed">live ones, as its shadow saw them</option></select></div>
    <div><label for="compare-users">${isShadowed ? "Answers" : "Users"}</label>
      <input id="compare-users" type="number" required min="1" max=${MAX_USERS} value=${chosen.users}
        onInput=${set("users")} /></div>
    ${!isShadowed && html`<div><label for="compare-k">Items each</label>
      <input id="compare-k" type="number" required min="1" max=${MAX_K} value=${chosen.k} onInput=${set("k")} /></div>`}
    <button disabled=${isBusy}>Compare</button>
  </form>`;
}

function Report({ report }) {
  const { a, b, source, answers, latency_ms: latency, changed } = report;
  const how = source === "replayed"
    ? "Both versions were asked about the same users again"
    : `Live requests that ${a} answered, and ${b} as its shadow`;
  return html`<p>${how}, without a reranker: ${plural(answers, "answer")} of each.</p>
    ${answers > 0 && html`<h3>How much the answers differ</h3>
      <${Measures} report=${report} />
      <h3>What is recommended</h3>
      <${Shifts} report=${report} />
      ${latency && html`<h3>Time for one answer</h3>
        <${Table} label="Time for one answer" head=${["", "mean", "p50", "p99"]}>
          ${[[a, latency.a], [b, latency.b]].map(([version, one]) => html`<tr><th scope="row">${version}</th>
            ${[one.mean, one.p50, one.p99].map((ms) => html`<td>${ms.toFixed(3)} ms</td>`)}</tr>`)}
        <//>`}
      ${changed.length > 0 && html`<h3>Users whose answers changed most</h3>`}
      ${changed.map((user) => html`<${Changed} key=${user.user_id} user=${user} report=${report} />`)}`}`;
}

const rowsOf = ({ segments, tail_interactions: n }, cells) => Object.entries(SEGMENTS).map(([name, title]) =>
  html`<tr key=${name}><th scope="row">${title(n)}</th>${cells(segments[name]).map((cell) => html`<td>${cell}</td>`)}</tr>`);

function Measures({ report }) {
  const head = ["Users", "Answers", "Identical", "Overlap", "Rank correlation", "Rank-biased overlap"];
  return html`<${Table} label="How much the answers differ" head=${head}>
      ${rowsOf(report, (one) => [one.answers.toLocaleString("en"),
        one.identical === null ? "–" : `${(100 * one.identical).toFixed(1)} %`,
        shown(one.overlap), shown(one.rank_correlation), shown(one.rank_biased_overlap)])}
    <//>
    <p class="quiet">Overlap is the share of items in common; rank correlation is Spearman's, of those items. Rank-biased
      overlap counts first ranks most: 1 means the same list, 0 nothing in common.</p>`;
}

function Shifts({ report }) {
  const { a, b, age_attribute: age } = report;
  const figures = [["popularity rank", (one) => one.popularity_rank, 1], ...(age ? [[age, (one) => one.age, 1]] : []),
    ["coverage", (one) => one.coverage, 4]];
  const head = ["Users", ...figures.flatMap(([name]) => [`${name}, ${a}`, `${name}, ${b}`, "shift"])];
  const cells = (segment) => figures.flatMap(([, of, digits]) => {
    const both = of(segment);
    return [shown(both.a, digits), shown(both.b, digits),
      both.shift === null ? "–" : `${both.shift < 0 ? "−" : "+"}${Math.abs(both.shift).toFixed(digits)}`];
  });
  return html`<${Table} label="What is recommended" head=${head}>${rowsOf(report, cells)}<//>
    <p class="quiet">Popularity rank 1 is the most popular item. Ranks are those of ${a} for both versions: a positive shift
      means that ${b} recommends less popular items.</p>`;
}

const shown = (value, digits = 3) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));

function Changed({ user, report }) {
  const titles = new Map(Object.entries(report.titles));
  const list = (version, items, others) => html`<section class="card" aria-label=${`${user.user_id} under ${version}`}>
    <h5>${version}</h5>
    <ol class="items">${items.map((item) => html`<li><span class="title">${titles.get(item) ?? item}</span>
      ${titles.has(item) && html` <small class="quiet">${item}</small>`}
      ${!others.includes(item) && html` <${Badge} kind="open">only here<//>`}</li>`)}</ol>
  </section>`;
  return html`<h4>${user.user_id} <small class="quiet">${plural(user.n_interactions, "interaction")}, rank-biased overlap
      ${" "}${shown(user.rank_biased_overlap)}</small></h4>
    <div class="columns">${list(report.a, user.a, user.b)}${list(report.b, user.b, user.a)}</div>`;
}
