// The dialog that every change goes through: it says what will happen, and shows why it failed.

import { html, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ask } from "./api.js";

/**
 * Args: `change` { title, consequences, button, method?, path, body?, done(answer) → text }, of changes.js;
 * `onDone(text)`, awaited, after it has happened; `onClose()` in any case.
 */
export function ConfirmDialog({ change, onDone, onClose }) {
  const dialog = useRef(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  useLayoutEffect(() => dialog.current.showModal(), []);

  const act = async (force) => {
    setBusy(true);
    setError(null);
    try {
      const path = force ? `${change.path}${change.path.includes("?") ? "&" : "?"}force=true` : change.path;
      await onDone(change.done(await ask(change.method ?? "POST", path, change.body)));
      dialog.current?.close();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  // Without an answer, or with one of a store that went away, the record may have been changed all the same.
  const isKnown = error && error.status >= 400 && error.status < 500;
  // The service says of a version that lacks attributes that it can be forced, and of nothing else.
  const canForce = error?.status === 409 && error.message.includes("`force`");
  return html`<dialog ref=${dialog} aria-labelledby="confirm-heading" onClose=${onClose}
      onCancel=${(event) => isBusy && event.preventDefault()}>
    <h2 id="confirm-heading">${change.title}</h2>
    <ul>${change.consequences.map((one) => html`<li>${one}</li>`)}</ul>
    ${error && html`<p class="failure" role="alert"><strong>${
      isKnown ? "It did not happen:" : "It may not have happened; look before you try again:"}</strong> ${error.message}</p>`}
    <p role="status">${isBusy ? "Working: every worker loads and checks the version first …" : ""}</p>
    <div class="actions">
      <button type="button" class="plain" disabled=${isBusy} onClick=${() => dialog.current.close()}>Cancel</button>
      ${canForce
        ? html`<button type="button" class="danger" disabled=${isBusy} onClick=${() => act(true)}>
            ${change.button} anyway</button>`
        : html`<button type="button" disabled=${isBusy} onClick=${() => act(false)}>${change.button}</button>`}
    </div>
  </dialog>`;
}
