// The form that describes a new experiment: a name, and arms of users.

import { html, useState } from "./vendor/htm-preact.js";

// As the service has it for names that stand in headers and URLs, and for the number of arms.
const NAME = "[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}";
const MAX_ARMS = 16;
const NEW_ARM = { name: "", share: "10", version: "" };

/** Args: `models`, all published; `onStart(experiment)`, with the body of `POST /admin/experiments`. */
export function ExperimentForm({ models, onStart }) {
  const [name, setName] = useState("");
  const [arms, setArms] = useState([
    { ...NEW_ARM, name: "control", share: "50" },
    { ...NEW_ARM, name: "varied", share: "50" },
  ]);
  const setArm = (place, changed) => setArms(arms.map((arm, at) => (at === place ? { ...arm, ...changed } : arm)));
  const start = (event) => {
    event.preventDefault();
    onStart({ name, arms: arms.map(armOf) });
  };
  return html`<section class="card" aria-labelledby="start-heading">
    <h2 id="start-heading">Start an experiment</h2>
    <p class="quiet">Each arm answers its share of the users with another version, or with other defaults of requests; what a
      request sets itself stays. The first arm is the control.</p>
    <form onSubmit=${start}>
      <label for="experiment-name">Name of the experiment</label>
      <input id="experiment-name" required pattern=${NAME} title="letters, digits, and . _ -, up to 64" autocomplete="off"
        value=${name} onInput=${(event) => setName(event.target.value)} />
      ${arms.map((arm, place) => html`<${ArmFields} key=${place} arm=${arm} place=${place} models=${models}
        onSet=${(changed) => setArm(place, changed)} />`)}
      <div class="actions">
        ${arms.length > 2 && html`<button type="button" class="plain"
          onClick=${() => setArms(arms.slice(0, -1))}>Remove the last arm</button>`}
        ${arms.length < MAX_ARMS && html`<button type="button" class="plain"
          onClick=${() => setArms([...arms, NEW_ARM])}>Add an arm</button>`}
        <button>Start …</button>
      </div>
    </form>
  </section>`;
}

function ArmFields({ arm, place, models, onSet }) {
  const field = (name, label, attributes) => html`<div><label for="arm-${place}-${name}">${label}</label>
    <input id="arm-${place}-${name}" autocomplete="off" ...${attributes} value=${arm[name] ?? ""}
      onInput=${(event) => onSet({ [name]: event.target.value })} /></div>`;
  const choice = (name, label, options) => html`<div><label for="arm-${place}-${name}">${label}</label>
    <select id="arm-${place}-${name}" value=${arm[name] ?? ""} onChange=${(event) => onSet({ [name]: event.target.value })}>
      ${options.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select></div>`;
  const number = (min, max, step) => ({ type: "number", min, max, step, placeholder: "not set" });
  return html`<fieldset><legend>Arm ${place + 1}${place ? "" : ", the control"}</legend>
    <div class="line">
      ${field("name", "Name", { required: true, pattern: NAME, title: "letters, digits, and . _ -, up to 64" })}
      ${field("share", "Share of the users, %", { type: "number", required: true, min: 0.01, max: 100, step: "any" })}
      ${choice("version", "Version", [["", "the active one"], ...models.map(({ version }) => [version, version])])}
    </div>
    <details><summary>Defaults of requests</summary>
      <div class="line">
        ${field("k", "k", number(1, 1_000, 1))}
        ${field("diversity", "diversity", number(0, 1, "any"))}
        ${choice("rerank", "rerank", [...NOT_SET, ...["auto", "never", "always"].map((one) => [one, one])])}
        ${choice("exclude_seen", "exclude_seen", [...NOT_SET, ["true", "true"], ["false", "false"]])}
        ${field("deadline_ms", "deadline_ms", number(1, 10_000, 1))}
      </div>
    </details>
  </fieldset>`;
}

const NOT_SET = [["", "not set"]];

/** The arm as the service takes it; fields that are empty are left out. */
function armOf({ name, share, version, ...given }) {
  const defaults = {};
  for (const [field, value] of Object.entries(given)) {
    if (value === "") continue;
    if (field === "exclude_seen") defaults[field] = value === "true";
    else defaults[field] = field === "rerank" ? value : Number(value);
  }
  return { name, share: Number(share), ...(version && { version }), defaults };
}
