// Clicks per exposure: of arms and versions, with intervals.

import { html } from "./vendor/htm-preact.js";
import { ask, inPath } from "./api.js";
import { DEFAULT } from "./changes.js";
import { Failure, Table, when } from "./parts.js";
import { usePolled } from "./polled.js";

const INTERVAL_MS = 5_000;

/** Cells of what was seen and clicked: users, exposures, clicks, clicks per exposure. */
export const figureCells = ({ users, exposures, clicks, rate, low, high }) => html`<td>${count(users)}</td>
  <td>${count(exposures)}</td><td>${count(clicks)}</td>
  <td>${interval(rate, low, high, (one) => one.toFixed(4))}</td>`;

/** Cells of an effect: difference, relative difference, p. */
export function effectCells(effect, without) {
  if (!effect) return html`<td>${without}</td><td>–</td><td>–</td>`;
  const { difference, low, high, relative, relative_low: relativeLow, relative_high: relativeHigh, p } = effect;
  return html`<td>${interval(difference, low, high, (one) => signed(one, 4))}</td>
    <td>${interval(relative, relativeLow, relativeHigh, (one) => `${signed(100 * one, 1)} %`)}</td>
    <td>${p === null ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3)}</td>`;
}

const HEAD = ["Version", "Users", "Exposures", "Clicks", "Clicks per exposure", "Difference to the active one",
  "Relative to it", "p"];

/** Of the versions that answer under a name now. Args: `model`, the name. */
export function Clicks({ model }) {
  const path = `/admin/clicks${model === DEFAULT ? "" : `?model=${inPath(model)}`}`;
  const { value, error } = usePolled(() => ask("GET", path), INTERVAL_MS);
  return html`<section aria-labelledby="clicks-heading">
    <h2 id="clicks-heading">Clicks per exposure</h2>
    <${Failure} error=${error} />
    ${value && html`<${ByVersion} clicks=${value} />`}
  </section>`;
}

function ByVersion({ clicks: { share, since, confidence, versions } }) {
  if (!since && !share) return html`<p>Not counted: this service keeps no exposures.
    <code>LONGTAIL_EXPOSURE_SHARE=1</code> has it keep all.</p>`;
  if (!since) return html`<p>No answer was counted yet.</p>`;
  const hasArms = versions.some((one) => one.arm);
  return html`<${Table} label="Clicks per exposure by version" head=${hasArms ? [HEAD[0], "Arm", ...HEAD.slice(1)] : HEAD}>
      ${versions.map((one) => html`<tr key=${`${one.arm} ${one.version}`}><th scope="row">${one.version}</th>
        ${hasArms && html`<td>${one.arm || "none"}</td>`}${figureCells(one)}${effectCells(one.effect, "–")}</tr>`)}
    <//>
    ${versions.filter((one) => one.effect?.unknown).map((one) => html`<p class="quiet">${one.version}: no interval of
      the difference, ${one.effect.unknown}.</p>`)}
    <p class="quiet">Since ${when(since)}, when the first answer came after the last change of versions or shares.
      ${share < 1 && ` Of ${Number((100 * share).toPrecision(3))} % of the answers.`} In brackets:
      ${" "}${Math.round(100 * confidence)} % intervals, for one look at a time that was fixed beforehand.</p>`;
}

const count = (number) => number.toLocaleString("en");
const signed = (number, digits) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(digits)}`;

function interval(value, low, high, show) {
  if (value === null) return "–";
  return low == null ? show(value) : `${show(value)} [${show(low)}, ${show(high)}]`;
}
