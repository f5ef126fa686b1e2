// Search in the active version's catalogue.

import { html, useState } from "./vendor/htm-preact.js";
import { ask, inPath } from "./api.js";
import { Failure, plural } from "./parts.js";

const shown = (value) => (Array.isArray(value) ? value.join(", ") : String(value));

export function Catalogue() {
  const [text, setText] = useState("");
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const search = async (event) => {
    event.preventDefault();
    setError(null);
    try {
      setFound(await ask("GET", `/admin/items?q=${inPath(text)}`));
    } catch (failure) {
      setFound(null);
      setError(failure);
    }
  };
  return html`<section aria-labelledby="catalogue-heading">
    <h2 id="catalogue-heading">Catalogue</h2>
    <form class="line" role="search" onSubmit=${search}>
      <div><label for="search">Part of a title, or an item id</label>
        <input id="search" type="search" required maxlength="200" value=${text}
          onInput=${(event) => setText(event.target.value)} /></div>
      <button>Search</button>
    </form>
    <${Failure} error=${error} />
    <p role="status">${found && `${plural(found.n_matches, "item")} in ${found.model_version}${
      found.n_matches > found.items.length ? `, the first ${found.items.length} of them here` : ""}.`}</p>
    <ul class="items">${found?.items.map((item) => html`<li key=${item.item_id}><${FoundItem} item=${item} /></li>`)}</ul>
  </section>`;
}

function FoundItem({ item }) {
  const { knowledge, title: _, ...attributes } = item.fields;
  const known = Object.entries(attributes).filter(([, value]) => value !== null);
  return html`<span class="title">${item.title ?? item.item_id}</span> <small class="quiet">${item.item_id}</small>
    <p class="quiet reasons">${known.map(([name, value]) => `${name}: ${shown(value)}`).join("; ")}</p>
    ${knowledge && html`<details><summary>Knowledge</summary><p>${shown(knowledge)}</p></details>`}`;
}
