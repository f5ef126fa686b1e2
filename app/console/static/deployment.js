// Which versions answer whom, and the changes of that.

import { html, useState } from "./vendor/htm-preact.js";
import * as changes from "./changes.js";
import { Clicks } from "./clicks.js";
import { Badge, Failure, Table, when } from "./parts.js";
import { ShareSlider } from "./share.js";

const VERDICTS = { worse: ["bad", "worse"], fine: ["good", "fine"], waiting: ["open", "not known yet"] };

/** The choice of the name whose deployment is shown; nothing where there is one alone. */
export function Names({ deployment, onModel }) {
  const { names = [], model } = deployment;
  const shown = names.some((one) => one.model === model) ? names : [...names, { model, active: null }];
  if (shown.length < 2) return null;
  return html`<p><label for="model-name">Deployment of</label>
    <select id="model-name" value=${model} onChange=${(event) => onModel(event.target.value)}>
      ${shown.map((one) => html`<option value=${one.model}>${one.model}: ${one.active ?? "none"}</option>`)}</select></p>`;
}

/** Args: `polled` { value: { deployment, models }, error }; `canOperate`; `onChange(change)`. */
export function Deployment({ polled: { value, error }, canOperate, onChange }) {
  if (!value) return error ? html`<${Failure} error=${error} />` : html`<p>Loading …</p>`;
  const { deployment, models } = value;
  const others = models.filter((model) => model.version !== deployment.active).map((model) => model.version);
  const parts = { deployment, models, others, onChange: canOperate ? onChange : null };
  return html`
    <${Failure} error=${error} />
    <div class="cards">
      <${Active} ...${parts} />
      <${Canary} key=${`canary ${deployment.canary?.epoch}`} ...${parts} />
      ${"shadow" in deployment &&
      html`<${Shadow} key=${`shadow ${deployment.shadow?.version} ${deployment.shadow?.share}`} ...${parts} />`}
    </div>
    <${Clicks} key=${deployment.model} model=${deployment.model ?? changes.DEFAULT} />
    <${Versions} ...${parts} />
    <${Audit} entries=${deployment.audit} />`;
}

function Active({ deployment, models, onChange }) {
  const { active, previous, workers, generation } = deployment;
  const published = new Set(models.map((model) => model.version));
  const target = previous.find((version) => version !== active && published.has(version));
  const following = workers.filter((worker) => worker.version === active).length;
  return html`<section class="card" aria-labelledby="active-heading">
    <h2 id="active-heading">Active</h2>
    <p class="version">${active ?? "none"}</p>
    <p>${following} of ${workers.length} workers answer with it.
      ${following < workers.length && html` <${Badge} kind="open">workers differ<//>`}</p>
    <p class="quiet">Before: ${previous.slice(0, 3).join(", ") || "nothing"}. Change ${generation}.</p>
    ${onChange && target && html`<button type="button" class="plain"
      onClick=${() => onChange(changes.rollBack(target, deployment))}>Roll back to ${target} …</button>`}
    ${onChange && active && (deployment.model ?? changes.DEFAULT) !== changes.DEFAULT && html`<button type="button"
      class="plain" onClick=${() => onChange(changes.deactivate(deployment))}>End the name ${deployment.model} …</button>`}
  </section>`;
}

function Canary({ deployment, others, onChange }) {
  const { canary } = deployment;
  return html`<section class="card" aria-labelledby="canary-heading">
    <h2 id="canary-heading">Canary</h2>
    ${canary
      ? html`<p class="version">${canary.version}</p>
          <p>answers ${canary.percent} % of the users since ${when(canary.since)}.</p>
          <${Verdict} verdict=${canary.verdict} />
          ${onChange && html`
            <${ShareSlider} id="canary-share" label="Share" of="users" percent=${canary.percent}
              button=${() => "Change the share …"}
              onChoose=${(share) => onChange(changes.setCanary(canary.version, share, deployment))} />
            <div class="actions">
              <button type="button" class="plain" onClick=${() => onChange(changes.promote(deployment))}>
                Promote ${canary.version} …</button>
              <button type="button" class="plain"
                onClick=${() => onChange(changes.setCanary(canary.version, 0, deployment))}>End the canary …</button>
            </div>`}`
      : html`<p>No version is tried.</p>
          ${onChange && deployment.active && html`<${Starter} what="canary" others=${others} of="users"
            onChoose=${(version, share) => onChange(changes.setCanary(version, share, deployment))} />`}`}
  </section>`;
}

function Verdict({ verdict }) {
  if (!verdict) return null;
  const [kind, word] = VERDICTS[verdict.word] ?? ["plain", verdict.word];
  return html`<p>Compared with the active version: <${Badge} kind=${kind}>${word}<//> ${verdict.reason}.</p>
    <details><summary>Figures</summary>
      <${Table} label="Figures of the verdict" head=${["", "Canary", "Active", "Bound", "Shown"]}>
        ${verdict.findings.map((one) => html`<tr><th scope="row">${nameOf(one)}</th><td>${show(one, one.canary)}</td>
          <td>${show(one, one.active)}</td><td>${boundOf(one)}</td><td>${shownBy(one.state)}</td></tr>`)}
      <//>
    </details>`;
}

const isLatency = (finding) => finding.criterion === "latency";
const nameOf = (one) => (one.quantile ? `${one.criterion}, p${Math.round(100 * one.quantile)}` : one.criterion);
const show = (one, value) =>
  isLatency(one) ? `${(1e3 * value).toPrecision(3)} ms` : `${Number((100 * value).toPrecision(3))} %`;
const boundOf = (one) => (isLatency(one) ? `${one.bound} times` : `+${100 * one.bound} points`);
const shownBy = (state) => ({ worse: "worse", open: "nothing yet", holds: "within the bound" })[state];

function Shadow({ deployment, others, onChange }) {
  const { shadow } = deployment;
  const unused = others.filter((version) => version !== deployment.canary?.version);
  return html`<section class="card" aria-labelledby="shadow-heading">
    <h2 id="shadow-heading">Shadow</h2>
    ${shadow
      ? html`<p class="version">${shadow.version}</p>
          <p>answers ${shadow.share} % of the requests unseen, since ${when(shadow.since)}.</p>
          ${onChange && html`<${ShareSlider} id="shadow-share" label="Share" of="requests" percent=${shadow.share}
              button=${() => "Change the share …"}
              onChoose=${(share) => onChange(changes.setShadow(shadow.version, share, deployment))} />
            <div class="actions"><button type="button" class="plain"
              onClick=${() => onChange(changes.setShadow(shadow.version, 0, deployment))}>End the shadow …</button></div>`}`
      : html`<p>No version answers unseen.</p>
          ${onChange && deployment.active && html`<${Starter} what="shadow" others=${unused} of="requests"
            onChoose=${(version, share) => onChange(changes.setShadow(version, share, deployment))} />`}`}
  </section>`;
}

/** The choice of a version and a share, to begin with. */
function Starter({ what, others, of, onChoose }) {
  const [version, setVersion] = useState(others[0]);
  if (!others.length) return html`<p class="quiet">There is no other version; <code>longtail publish
    --bundle FOLDER</code> brings one.</p>`;
  const chosen = others.includes(version) ? version : others[0];
  return html`<label for="${what}-version">Version</label>
    <select id="${what}-version" value=${chosen} onChange=${(event) => setVersion(event.target.value)}>
      ${others.map((one) => html`<option value=${one}>${one}</option>`)}</select>
    <${ShareSlider} id="${what}-share" label="Share" of=${of} percent=${0}
      button=${(share) => (share ? `Start at ${share} % …` : "Start …")} onChoose=${(share) => onChoose(chosen, share)} />`;
}

const STATES = { serving: "good", canary: "open", shadow: "open" };
const kindOf = (state) => (state.startsWith("rejected") ? "bad" : STATES[state.split(" ")[0]]);

function Versions({ deployment, models, onChange }) {
  return html`<section aria-labelledby="versions-heading">
    <h2 id="versions-heading">Versions</h2>
    <${Table} label="Versions" head=${["Version", "State", "Reranker", "Metrics", ...(onChange ? ["Change"] : [])]}>
      ${models.map((model) => html`<tr key=${model.version}>
        <th scope="row">${model.version}</th>
        <td><${Badge} kind=${kindOf(model.state)}>${model.state}<//></td>
        <td>${model.reranker ?? "–"}</td>
        <td>${mainMetrics(model.metrics)}</td>
        ${onChange && html`<td>${model.version !== deployment.active && html`<button type="button" class="plain small"
          onClick=${() => onChange(changes.activate(model.version, deployment))}
          aria-label=${`Activate ${model.version} …`}>Activate …</button>`}</td>`}
      </tr>`)}
    <//>
  </section>`;
}

function mainMetrics(metrics) {
  const numbers = Object.entries(metrics).filter(([, value]) => typeof value === "number");
  const main = numbers.filter(([name]) => /ndcg_at_10|hit_rate_at_10/.test(name));
  const shown = (main.length ? main : numbers).slice(0, 3);
  return shown.map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`).join(", ") || "–";
}

function Audit({ entries }) {
  return html`<section aria-labelledby="audit-heading">
    <h2 id="audit-heading">Audit trail</h2>
    ${entries.length === 0 && html`<p>Nothing has been changed yet.</p>`}
    ${entries.length > 0 && html`<${Table} label="Audit trail" head=${["No.", "When", "What", "Who", "Through"]}>
      ${entries.map((one) => html`<tr key=${one.generation}><td>${one.generation}</td><td>${when(one.at)}</td>
        <th scope="row">${one.what}</th><td>${one.who}</td><td>${one.why}</td></tr>`)}<//>`}
  </section>`;
}
