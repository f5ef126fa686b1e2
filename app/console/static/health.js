// Store, reranker, rejected versions and workers.

import { html } from "./vendor/htm-preact.js";
import { ask } from "./api.js";
import { Badge, Failure, Table } from "./parts.js";
import { usePolled } from "./polled.js";

const INTERVAL_MS = 2_000;
const STORE = { up: "good", "read-only": "open" };
const RERANKER = { ready: "good", loading: "open", failed: "bad" };

export function Health({ deployment }) {
  const { value: ready, error } = usePolled(() => ask("GET", "/health/ready"), INTERVAL_MS);
  return html`<section aria-labelledby="health-heading">
    <h2 id="health-heading">Health</h2>
    <${Failure} error=${error} />
    ${ready && html`<div class="cards">
      <section class="card"><h3>Store</h3>
        <p><${Badge} kind=${STORE[ready.store] ?? "bad"}>${ready.store}<//> ${ready.store_reason}</p></section>
      <section class="card"><h3>Reranker</h3>
        <p><${Badge} kind=${RERANKER[ready.reranker]}>${ready.reranker}<//> ${ready.reranker_reason}</p></section>
      <section class="card"><h3>This worker</h3>
        <p>${ready.version} on ${ready.execution_provider}; ${ready.items.toLocaleString("en")} items,
          ${ready.fresh_items} of them fresh.</p></section>
    </div>
    ${Object.entries(ready.rejected).map(([version, reason]) => html`<p class="failure">
      <strong>${version} is rejected:</strong> ${reason}</p>`)}`}
    <${Workers} workers=${deployment?.workers ?? []} />
  </section>`;
}

function Workers({ workers }) {
  return html`<h3 id="workers-heading">Workers</h3>
    <${Table} label="Workers" head=${["Worker", "State", "Answers with", "Loaded", "Change", "Trouble"]}>
      ${workers.map((one) => html`<tr key=${one.id}>
        <th scope="row">${one.pid} on ${one.host}</th>
        <td><${Badge} kind=${one.state === "ready" ? "good" : "open"}>${one.state}${one.loading && ` ${one.loading}`}<//></td>
        <td>${one.version ?? "–"}</td><td>${one.loaded.join(", ")}</td><td>${one.generation}</td>
        <td>${[...Object.entries(one.rejected).map(([version, why]) => `${version}: ${why}`),
          ...Object.values(one.failures)].join("; ") || "none"}</td></tr>`)}
    <//>`;
}
