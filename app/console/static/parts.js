// Small parts that several panels show.

import { html } from "./vendor/htm-preact.js";

export const Failure = ({ error }) =>
  error ? html`<p class="failure" role="alert"><strong>Failed:</strong> ${error.message}</p>` : null;

/** A state as a word in a coloured frame: `good`, `bad`, `open` or `plain`. */
export const Badge = ({ kind = "plain", children }) => html`<span class="badge ${kind}">${children}</span>`;

export const Table = ({ label, head, children }) => html`<div class="scroll" tabindex="0" role="region"
  aria-label=${label}><table><thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
  <tbody>${children}</tbody></table></div>`;

export const when = (iso) => {
  const time = new Date(iso);
  return Number.isNaN(time.valueOf()) ? iso : html`<time datetime=${iso}>${time.toLocaleString()}</time>`;
};

export const plural = (n, one, several = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : several}`;
