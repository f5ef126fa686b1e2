// A user's history, and the recommendations of two versions side by side.

import { html, useState } from "./vendor/htm-preact.js";
import { ask, inPath } from "./api.js";
import { Badge, Failure, plural } from "./parts.js";

/** Args: `loaded`, versions whose answers can be asked for, the active one first. */
export function Person({ loaded }) {
  const [userId, setUserId] = useState("");
  const [versions, setVersions] = useState([null, null]);
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const chosen = [versions[0] ?? loaded[0], versions[1] ?? loaded[1] ?? ""];

  const look = async (event) => {
    event.preventDefault();
    setError(null);
    const path = `/admin/users/${inPath(userId.trim())}`;
    const wanted = chosen.filter(Boolean);
    try {
      const [history, ...answers] = await Promise.all([
        ask("GET", `${path}/history`),
        ...wanted.map((version) => ask("GET", `${path}/recommendations?version=${inPath(version)}`)),
      ]);
      setFound({ history, answers });
    } catch (failure) {
      setFound(null);
      setError(failure);
    }
  };
  const choose = (place) => (event) =>
    setVersions(versions.map((one, at) => (at === place ? event.target.value : one)));

  return html`<section aria-labelledby="person-heading">
    <h2 id="person-heading">A person</h2>
    <form class="line" onSubmit=${look}>
      <div><label for="user-id">User id</label>
        <input id="user-id" required maxlength="512" autocomplete="off" value=${userId}
          onInput=${(event) => setUserId(event.target.value)} /></div>
      <div><label for="version-a">Version</label>
        <select id="version-a" value=${chosen[0]} onChange=${choose(0)}>
          ${loaded.map((one) => html`<option value=${one}>${one}</option>`)}</select></div>
      <div><label for="version-b">Next to it</label>
        <select id="version-b" value=${chosen[1]} onChange=${choose(1)}>
          <option value="">no other</option>
          ${loaded.map((one) => html`<option value=${one}>${one}</option>`)}</select></div>
      <button>Show</button>
    </form>
    ${loaded.length < 2 && html`<p class="quiet">Only the active version is loaded. The shadow, the canary and versions of an
      experiment can be shown next to it.</p>`}
    <${Failure} error=${error} />
    <p role="status" class="hidden">${found ? `${found.history.user_id}: ${found.history.n_items} items in the history` : ""}</p>
    ${found && html`<div class="columns">
      <${History} history=${found.history} />
      ${found.answers.map((answer, place) => html`<${Answer} key=${`${place} ${answer.model_version}`} answer=${answer}
        other=${found.answers[1 - place]} />`)}
    </div>`}
  </section>`;
}

function History({ history }) {
  return html`<section class="card" aria-labelledby="history-heading">
    <h3 id="history-heading">History, newest first</h3>
    <p class="quiet">${plural(history.n_items, "item")}${history.n_unknown
      ? `, and ${plural(history.n_unknown, "event")} about unknown items` : ""}.
      ${!history.is_complete && html` <${Badge} kind="bad">the store could not be read<//>`}</p>
    <ol class="items">${history.items.map((item) => html`<li><${Item} ...${item} /></li>`)}</ol>
  </section>`;
}

const Item = ({ item_id, title }) =>
  html`<span class="title">${title ?? item_id}</span>${title && html` <small class="quiet">${item_id}</small>`}`;

function Answer({ answer, other }) {
  const ranks = other && new Map(other.items.map((item) => [item.item_id, item.rank]));
  return html`<section class="card" aria-label=${`Recommendations of ${answer.model_version}`}>
    <h3>${answer.model_version}</h3>
    <p class="quiet">Served by ${answer.served_by}; reranking: ${answer.rerank};
      ${answer.degraded.length ? ` missing: ${answer.degraded.join(", ")};` : ""} in ${Number(answer.timings_ms.total.toPrecision(3))} ms.</p>
    <ol class="items">${answer.items.map((item) => html`<li>
      <${Item} item_id=${item.item_id} title=${item.fields?.title} />
      ${ranks && html` <${Badge} kind=${ranks.has(item.item_id) ? "plain" : "open"}>
        ${ranks.has(item.item_id) ? movement(item.rank, ranks.get(item.item_id)) : "only here"}<//>`}
      <${Reasons} explanation=${item.explanation} score=${item.score} />
      ${item.fields?.knowledge && html`<details><summary>Knowledge</summary><p>${item.fields.knowledge}</p></details>`}
    </li>`)}</ol>
  </section>`;
}

const movement = (here, there) => (here === there ? "same rank" : `rank ${there} there`);

function Reasons({ explanation, score }) {
  const { because = [], similarity, share, rerank } = explanation ?? {};
  const parts = because.map((one) => `${one.title ?? one.item_id} (${signed(one.contribution)})`);
  return html`<p class="quiet reasons">score ${score}${parts.length > 0 && `, because of ${parts.join(", ")}`}${
    similarity !== undefined && `, similarity to the interests ${similarity}`}${
    share !== undefined && `, ${Number((100 * share).toPrecision(3))} % of all interactions`}${
    rerank && rerank.llm_rank && `; rank ${rerank.base_rank} before reranking, ${rerank.llm_rank} by the language model`}</p>`;
}

const signed = (number) => `${number < 0 ? "−" : "+"}${Number(Math.abs(number).toPrecision(3))}`;
