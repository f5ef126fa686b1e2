// The page: sign in with a token, then one panel at a time, each at an address of its own.

import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import { ApiError, ask, askIfThere, forgetToken, inPath, keepToken, readToken } from "./api.js";
import { Catalogue } from "./catalogue.js";
import { Compare, useComparison } from "./compare.js";
import { ConfirmDialog } from "./confirm.js";
import { DEFAULT } from "./changes.js";
import { Deployment, Names } from "./deployment.js";
import { Experiments } from "./experiments.js";
import { Health } from "./health.js";
import { Live, useTraffic } from "./live.js";
import { Person } from "./person.js";
import { Failure } from "./parts.js";
import { usePolled } from "./polled.js";

const INTERVAL_MS = 2_000;
const PANELS = {
  deployment: "Deployment",
  experiments: "Experiments",
  compare: "Compare",
  live: "Live",
  person: "Person",
  catalogue: "Catalogue",
  health: "Health",
};

/** Who the token stands for; a service that has no roles has one token, which may do everything. */
async function whoAsks() {
  const operator = await askIfThere("/admin/whoami");
  if (operator) return operator;
  await ask("GET", "/admin/models");
  return { role: "operate", note: "" };
}

function App() {
  const [operator, setOperator] = useState(null);
  const [reason, setReason] = useState(null);
  const [isChecking, setChecking] = useState(readToken() !== null);

  const signIn = async () => {
    setChecking(true);
    try {
      setOperator(await whoAsks());
      setReason(null);
    } catch (error) {
      if (error.status === 403) forgetToken(); // a right one of too low a role, as a caller's key
      if (error.status !== 401) setReason(error);
    }
    setChecking(false);
  };
  const signOut = (error) => {
    forgetToken();
    setOperator(null);
    setReason(error);
  };
  useEffect(() => {
    const onSignedOut = (event) => signOut(new ApiError(401, event.detail));
    addEventListener("signed-out", onSignedOut);
    if (readToken() !== null) signIn();
    return () => removeEventListener("signed-out", onSignedOut);
  }, []);

  if (operator) return html`<${Console} operator=${operator} onSignOut=${() => signOut(null)} />`;
  if (isChecking) return html`<p class="middle" role="status">Asking the service …</p>`;
  return html`<${SignIn} reason=${reason} onToken=${(token) => { keepToken(token); signIn(); }} />`;
}

function SignIn({ reason, onToken }) {
  const submit = (event) => {
    event.preventDefault();
    onToken(event.target.elements.token.value.trim());
  };
  return html`<main class="middle card">
    <h1>Longtail console</h1>
    <form onSubmit=${submit}>
      <label for="token">Admin token</label>
      <input id="token" type="password" required autocomplete="off" autofocus aria-describedby="token-note" />
      <p id="token-note" class="quiet">The value of <code>LONGTAIL_ADMIN_TOKEN</code>, or one that
        <code>longtail tokens create --role operate</code> prints. It stays in this tab until the tab is closed, and goes to this
        service only.</p>
      <${Failure} error=${reason} />
      <button>Sign in</button>
    </form>
  </main>`;
}

async function loadDeployment(model) {
  const path = `/admin/deployment${model === DEFAULT ? "" : `?model=${inPath(model)}`}`;
  const [deployment, { models }] = await Promise.all([ask("GET", path), ask("GET", "/admin/models")]);
  return { deployment, models };
}

/** Panels about the deployment of one name. */
const OF_A_NAME = new Set(["deployment", "experiments", "health"]);

const panelOf = () => (Object.hasOwn(PANELS, location.hash.slice(1)) ? location.hash.slice(1) : "deployment");

function Console({ operator, onSignOut }) {
  const [panel, setPanel] = useState(panelOf());
  const [change, setChange] = useState(null);
  const [news, setNews] = useState("");
  const [model, setModel] = useState(DEFAULT);
  const polled = usePolled(() => loadDeployment(model), INTERVAL_MS);
  const traffic = useTraffic();
  const comparison = useComparison();
  const { deployment, models } = polled.value ?? {};
  const canOperate = operator.role === "operate";

  useEffect(() => {
    const onHash = () => {
      setPanel(panelOf());
      setNews("");
    };
    addEventListener("hashchange", onHash);
    return () => removeEventListener("hashchange", onHash);
  }, []);

  useEffect(() => { polled.refresh(); }, [model]);

  const running = deployment?.experiments.find((one) => one.stopped === null);
  const used = [
    ...[deployment?.active, deployment?.canary?.version, deployment?.shadow?.version],
    ...(running?.arms.map((arm) => arm.version) ?? []),
    ...(deployment?.names?.map((one) => one.active) ?? []),
  ];
  const panels = {
    deployment: () => html`<${Deployment} polled=${polled} canOperate=${canOperate} onChange=${setChange} />`,
    experiments: () => html`<${Experiments} deployment=${deployment} models=${models}
      onChange=${canOperate ? setChange : null} />`,
    compare: () => html`<${Compare} deployment=${deployment} models=${models} comparison=${comparison} />`,
    live: () => html`<${Live} traffic=${traffic} />`,
    person: () => html`<${Person} loaded=${[...new Set(used.filter(Boolean))]} />`,
    catalogue: () => html`<${Catalogue} />`,
    health: () => html`<${Health} deployment=${deployment} />`,
  };
  return html`
    <a class="skip" href="#${panel}" onClick=${() => document.getElementById("content").focus()}>To the content</a>
    <header>
      <h1>Longtail <small>${deployment?.active ?? ""}</small></h1>
      <p class="who"><span>${operator.note ? `${operator.note}, ` : ""}role ${operator.role}</span>
        <button type="button" class="plain small" onClick=${onSignOut}>Sign out</button></p>
      <nav aria-label="Panels">${Object.entries(PANELS).map(([name, title]) => html`<a href="#${name}"
        aria-current=${name === panel ? "page" : undefined}>${title}</a>`)}</nav>
    </header>
    <main id="content" tabindex="-1">
      <p id="news" role="status" tabindex="-1" class=${news ? "news" : ""}>${news}</p>
      ${deployment && OF_A_NAME.has(panel) && html`<${Names} deployment=${deployment} onModel=${setModel} />`}
      ${panels[panel]()}
    </main>
    ${change && html`<${ConfirmDialog} change=${change} onClose=${() => setChange(null)}
      onDone=${async (text) => {
        // What is told is shown: nobody chooses among the versions of before a change.
        await polled.refresh();
        setNews(text);
        document.getElementById("news").focus();
      }} />`}`;
}

render(html`<${App} />`, document.getElementById("console"));
