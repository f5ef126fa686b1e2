// The experiment that runs, those that ended lately, and what each has shown.

import { html, useState } from "./vendor/htm-preact.js";
import { ask, inPath } from "./api.js";
import * as changes from "./changes.js";
import { effectCells, figureCells } from "./clicks.js";
import { ExperimentForm } from "./experiment_form.js";
import { Badge, Failure, Table, plural, when } from "./parts.js";
import { usePolled } from "./polled.js";

const INTERVAL_MS = 5_000;

/** Args: `deployment`; `models`, all published; `onChange(change)`, null without the right to change. */
export function Experiments({ deployment, models, onChange }) {
  const [wanted, setWanted] = useState(null);
  if (!deployment) return html`<p>Loading …</p>`;
  const { experiments } = deployment;
  const running = experiments.find((one) => one.stopped === null);
  const shown = experiments.find((one) => one.name === wanted) ?? running ?? experiments[0];
  return html`<section aria-labelledby="experiments-heading">
      <h2 id="experiments-heading">Experiments</h2>
      ${experiments.length
        ? html`<${List} experiments=${experiments} shown=${shown} onShow=${setWanted} />`
        : html`<p>No experiment runs, and none ended in the last 30 days.</p>`}
    </section>
    ${shown && html`<${Figures} key=${`${shown.name} ${shown.stopped}`} experiment=${shown}
      onStop=${onChange && (() => onChange(changes.stopExperiment(shown)))} />`}
    ${onChange && (running
      ? html`<p class="quiet">One experiment runs at a time: stop ${running.name} to start another one.</p>`
      : html`<${ExperimentForm} models=${models}
          onStart=${(experiment) => onChange(changes.startExperiment(experiment, deployment))} />`)}`;
}

const List = ({ experiments, shown, onShow }) => html`<${Table} label="Experiments"
  head=${["Name", "State", "Since", "Arms", "Figures"]}>
  ${experiments.map((one) => html`<tr key=${one.name}>
    <th scope="row">${one.name}</th>
    <td>${one.stopped ? html`ended ${when(one.stopped)}` : html`<${Badge} kind="open">runs<//>`}</td>
    <td>${when(one.since)}</td>
    <td>${one.arms.map(changes.describeArm).join("; ")}</td>
    <td><button type="button" class="plain small" aria-pressed=${one.name === shown.name}
      aria-label=${`Show the figures of ${one.name}`} onClick=${() => onShow(one.name)}>Show</button></td>
  </tr>`)}
<//>`;

function Figures({ experiment, onStop }) {
  const path = `/admin/experiments/${inPath(experiment.name)}`;
  const { value: report, error } = usePolled(() => ask("GET", path), INTERVAL_MS);
  return html`<section class="card" aria-labelledby="figures-heading">
    <h2 id="figures-heading">${experiment.name}</h2>
    <${Failure} error=${error} />
    ${report && html`<${Report} report=${report} />`}
    ${onStop && experiment.stopped === null && html`<button type="button" class="plain"
      onClick=${onStop}>Stop ${experiment.name} …</button>`}
  </section>`;
}

const HEAD = ["Arm", "Share", "Users", "Exposures", "Clicks", "Clicks per exposure", "Difference to the control",
  "Relative to it", "p"];

function Report({ report: { arms, confidence, sample_ratio: ratio } }) {
  const unknown = arms.filter((arm) => arm.effect?.unknown);
  const several = arms.filter((arm) => (arm.versions ?? []).length > 1);
  return html`<p>Users by arm: ${ratio.reason}.</p>
    ${ratio.noticed && html`<p class="failure" role="alert"><strong>The split is wrong:</strong> users of an arm were lost
      or counted twice, and the effects below say nothing.</p>`}
    <${Table} label="Figures by arm" head=${HEAD}>
      ${arms.map((arm) => html`<tr key=${arm.name}><th scope="row">${arm.name}</th><td>${arm.share} %</td>
        ${figureCells(arm)}${effectCells(arm.effect, "control")}</tr>`)}
    <//>
    ${several.length > 0 && html`<h3>By version</h3>
      <${Table} label="Figures by arm and version" head=${["Arm", "Version", ...HEAD.slice(2, 6)]}>
        ${several.map((arm) => arm.versions.map((one) => html`<tr key=${`${arm.name} ${one.version}`}>
          <th scope="row">${arm.name}</th><td>${one.version}</td>${figureCells(one)}</tr>`))}
      <//>`}
    ${unknown.map((arm) => html`<p class="quiet">${arm.name}: no interval, ${arm.effect.unknown}.</p>`)}
    <p class="quiet">In brackets: ${Math.round(100 * confidence)} % intervals. They hold for one look at a time that was
      fixed beforehand. ${plural(arms.reduce((sum, arm) => sum + arm.users, 0), "user")} so far.</p>`;
}
