// The changes that an operator can make: what each will do, and how it is asked for.

import { inPath } from "./api.js";
import { plural } from "./parts.js";

const LOADED_FIRST =
  "Every worker loads and checks the version first; if one of them can't, nothing changes.";

export const DEFAULT = "default";

/** Which deployment record a path changes, and that it is to be as it was seen: nobody undoes what they don't know. */
const under = ({ model = DEFAULT, generation }) =>
  `?generation=${generation}${model === DEFAULT ? "" : `&model=${inPath(model)}`}`;

/** Whom a change concerns, unless it is those who name no model. */
const whom = ({ model = DEFAULT }) =>
  model === DEFAULT ? [] : [`It is about requests with the model ${model} alone.`];

const rolled = ({ active, workers, fresh_items: fresh }) => {
  const carried = fresh?.carried ? `; ${plural(fresh.carried, "fresh item")} came along` : "";
  return `${active} is the active version now, in ${plural(workers, "worker")}${carried}.`;
};

const endsOf = (canary, version) =>
  canary && canary.version !== version
    ? [`The canary ${canary.version} goes on, compared with the new active version from then on.`]
    : [];

export const activate = (version, deployment) => ({
  title: `Activate ${version}?`,
  consequences: [
    ...whom(deployment),
    `${version} answers all users${deployment.active ? ` in place of ${deployment.active}` : ""}.`,
    LOADED_FIRST,
    ...endsOf(deployment.canary, version),
    ...(deployment.active ? [`“Roll back” returns to ${deployment.active}.`] : []),
  ],
  button: "Activate",
  path: `/admin/models/${inPath(version)}/activate${under(deployment)}`,
  done: rolled,
});

export const promote = ({ active, canary, model, generation }) => ({
  title: `Promote ${canary.version}?`,
  consequences: [
    ...whom({ model }),
    `The canary ${canary.version} answers all users in place of ${active}, not ${canary.percent} % of them.`,
    `So far: ${canary.verdict?.reason ?? "there is no verdict"}.`,
    `“Roll back” returns to ${active}.`,
  ],
  button: "Promote",
  path: `/admin/models/${inPath(canary.version)}/promote${under({ model, generation })}`,
  done: rolled,
});

export const rollBack = (version, { active, canary, model, generation }) => ({
  title: `Roll back to ${version}?`,
  consequences: [
    ...whom({ model }),
    `${version}, which was active before, answers all users${active ? ` in place of ${active}` : ""}.`,
    LOADED_FIRST,
    ...endsOf(canary, version),
  ],
  button: "Roll back",
  path: `/admin/models/rollback${under({ model, generation })}`,
  done: rolled,
});

export const deactivate = ({ active, canary, shadow, model, generation }) => ({
  title: `End the name ${model}?`,
  consequences: [
    `Requests with the model ${model} get an error; other requests are answered as before.`,
    ...(canary ? [`The canary ${canary.version} ends.`] : []),
    ...(shadow ? [`The shadow ${shadow.version} ends.`] : []),
    `“Roll back” returns to ${active}.`,
  ],
  button: "End it",
  path: `/admin/models/deactivate${under({ model, generation })}`,
  done: ({ previous }) => `${model} answers no more; it was ${previous}.`,
});

export const setCanary = (version, percent, { active, canary, model, generation }) => {
  const path = `/admin/models/${inPath(version)}/canary${under({ model, generation })}`;
  const body = { percent };
  if (percent === 0) {
    return {
      title: `End the canary ${version}?`,
      consequences: [...whom({ model }), `${active} answers all users again, at once.`,
        "Its verdict is dropped; the version stays."],
      button: "End the canary",
      path,
      body,
      done: () => `The canary has ended; ${active} answers all users.`,
    };
  }
  const isSame = canary?.version === version;
  const replaced = canary && !isSame ? [`The canary ${canary.version} ends.`] : [];
  return {
    title: isSame ? `Let ${version} answer ${percent} %?` : `Try ${version} as a canary?`,
    consequences: [
      ...whom({ model }),
      `${version} answers ${percent} % of the users, always the same ones; ${active} the others.`,
      isSame ? "The comparison with the active version begins anew." : LOADED_FIRST,
      "If it is shown to be worse, the service takes it back by itself.",
      ...replaced,
    ],
    button: isSame ? `Set to ${percent} %` : `Start at ${percent} %`,
    path,
    body,
    done: () => `${version} answers ${percent} % of the users.`,
  };
};

export const setShadow = (version, share, { shadow, model, generation }) => {
  const isEnd = share === 0;
  const replaced = shadow && shadow.version !== version ? [`The shadow ${shadow.version} ends.`] : [];
  return {
    title: isEnd ? `End the shadow ${version}?` : `Let ${version} shadow ${share} %?`,
    consequences: isEnd
      ? [...whom({ model }), "Its answers so far can still be compared."]
      : [...whom({ model }), `After its own answer, ${share} % of the requests are answered by ${version} too; users don't see it.`,
        LOADED_FIRST, ...replaced],
    button: isEnd ? "End the shadow" : `Shadow ${share} %`,
    path: `/admin/models/${inPath(version)}/shadow${under({ model, generation })}`,
    body: { share },
    done: () => (isEnd ? "The shadow has ended." : `${version} shadows ${share} % of the requests.`),
  };
};

/** For example "varied 50 % (version made-2, diversity 0.3)". */
export function describeArm({ name, share, version, defaults }) {
  const set = Object.entries(defaults ?? {}).filter(([, value]) => value !== null);
  const parts = [...(version ? [`version ${version}`] : []), ...set.map(([field, value]) => `${field} ${value}`)];
  return `${name} ${share} %${parts.length ? ` (${parts.join(", ")})` : ""}`;
}

export const startExperiment = (experiment, { active, model, generation }) => {
  const { name, arms } = experiment;
  const left = 100 - arms.reduce((sum, { share }) => sum + share, 0);
  return {
    title: `Start the experiment ${name}?`,
    consequences: [
      ...whom({ model }),
      `Arms of the users: ${arms.map(describeArm).join("; ")}. A user stays in the same arm.`,
      ...(left > 0 ? [`${Number(left.toPrecision(6))} % of the users are in no arm and are answered as before.`] : []),
      ...(arms.some(({ version }) => version && version !== active) ? [LOADED_FIRST] : []),
      "Answers and the clicks that follow them are counted by arm.",
    ],
    button: "Start",
    path: `/admin/experiments${under({ model, generation })}`,
    body: experiment,
    done: () => `The experiment ${name} runs.`,
  };
};

export const stopExperiment = ({ name }) => ({
  title: `Stop the experiment ${name}?`,
  consequences: [
    "All users are answered as without it, at once.",
    "Its figures are kept for 30 days, in which its name can't be used again.",
  ],
  button: "Stop",
  method: "DELETE",
  path: `/admin/experiments/${inPath(name)}`,
  done: () => `The experiment ${name} has ended.`,
});
