// Traffic of the last minutes, by version, from the service's metrics.

import { html, useState } from "./vendor/htm-preact.js";
import { ask } from "./api.js";
import { Chart, withUnit } from "./chart.js";
import { between, readCounters } from "./metrics.js";
import { usePolled } from "./polled.js";
import { Failure } from "./parts.js";

const INTERVAL_MS = 2_000;
const KEPT = 150; // five minutes
const WINDOW = 5; // readings: a percentile of two seconds of a quiet service jumps about

/** Readings since the page was opened: { points, error }, oldest first. */
export function useTraffic() {
  const [history] = useState({ readings: [], points: [] });
  const { error, value } = usePolled(async () => {
    history.readings.push(readCounters(await ask("GET", "/metrics"), Date.now() / 1e3));
    const { readings } = history;
    if (readings.length > 1) {
      history.points.push(between(readings[0], readings.at(-1)));
    }
    if (readings.length > WINDOW) readings.shift();
    if (history.points.length > KEPT) history.points.shift();
    return [...history.points];
  }, INTERVAL_MS);
  return { points: value ?? [], error };
}

const CHARTS = [
  ["Answers", "/s", "answers"],
  ["Latency, median", "ms", "p50"],
  ["Latency, 95th percentile", "ms", "p95"],
  ["Latency, 99th percentile", "ms", "p99"],
  ["Errors", "%", "errorShare"],
  ["Degraded answers, by missing part", "/s", "degraded"],
  ["Reranking, by outcome", "/s", "rerank"],
];

export function Live({ traffic: { points, error } }) {
  const times = points.map((point) => point.atS);
  return html`<section aria-labelledby="live-heading">
    <h2 id="live-heading">Live traffic</h2>
    <p class="quiet">All workers together, over the last ten seconds at each moment; measured every two
      seconds while this page is open.</p>
    <${Failure} error=${error} />
    <${Now} point=${points.at(-1)} />
    <div class="charts">
      ${CHARTS.map(([title, unit, group]) => html`<${Chart} key=${group} title=${title} unit=${unit}
        times=${times} lines=${linesOf(points, group)} />`)}
    </div>
  </section>`;
}

function linesOf(points, group) {
  const names = [...new Set(points.flatMap((point) => Object.keys(point[group])))].sort();
  return Object.fromEntries(
    names.map((name) => [name, points.map((point) => point[group][name] ?? null)]),
  );
}

function Now({ point }) {
  if (!point) return html`<p>The first figures come after four seconds.</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Figures by version">
    <table>
      <thead><tr><th scope="col">Version</th><th scope="col">Answers</th><th scope="col">p50</th>
        <th scope="col">p95</th><th scope="col">p99</th><th scope="col">Errors</th></tr></thead>
      <tbody>${Object.keys(point.answers).sort().map((version) => html`<tr key=${version}>
        <th scope="row">${version}</th>
        <td>${withUnit(point.answers[version], "/s")}</td>
        ${["p50", "p95", "p99"].map((name) => html`<td>${withUnit(point[name][version], "ms")}</td>`)}
        <td>${withUnit(point.errorShare[version], "%")}</td></tr>`)}</tbody>
    </table>
  </div>`;
}
