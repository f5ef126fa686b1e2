// The changes that an operator can make: what each will do, and how it is asked for.

import { inPath } from "./api.js";
import { plural } from "./parts.js";

const LOADED_FIRST =
  "Every worker loads and checks the version first; if one of them can't, nothing changes.";

const rolled = ({ active, workers, fresh_items: fresh }) => {
  const carried = fresh?.carried ? `; ${plural(fresh.carried, "fresh item")} came along` : "";
  return `${active} is the active version now, in ${plural(workers, "worker")}${carried}.`;
};

const endsOf = (canary, version) =>
  canary && canary.version !== version
    ? [`The canary ${canary.version} goes on, compared with the new active version from then on.`]
    : [];

export const activate = (version, { active, canary }) => ({
  title: `Activate ${version}?`,
  consequences: [
    `${version} answers all users${active ? ` in place of ${active}` : ""}.`,
    LOADED_FIRST,
    ...endsOf(canary, version),
    ...(active ? [`“Roll back” returns to ${active}.`] : []),
  ],
  button: "Activate",
  path: `/admin/models/${inPath(version)}/activate`,
  done: rolled,
});

export const promote = ({ active, canary }) => ({
  title: `Promote ${canary.version}?`,
  consequences: [
    `The canary ${canary.version} answers all users in place of ${active}, not ${canary.percent} % of them.`,
    `So far: ${canary.verdict?.reason ?? "there is no verdict"}.`,
    `“Roll back” returns to ${active}.`,
  ],
  button: "Promote",
  path: `/admin/models/${inPath(canary.version)}/promote`,
  done: rolled,
});

export const rollBack = (version, { active, canary }) => ({
  title: `Roll back to ${version}?`,
  consequences: [
    `${version}, which was active before, answers all users in place of ${active}.`,
    LOADED_FIRST,
    ...endsOf(canary, version),
  ],
  button: "Roll back",
  path: "/admin/models/rollback",
  done: rolled,
});

export const setCanary = (version, percent, { active, canary }) => {
  const path = `/admin/models/${inPath(version)}/canary`;
  const body = { percent };
  if (percent === 0) {
    return {
      title: `End the canary ${version}?`,
      consequences: [`${active} answers all users again, at once.`, "Its verdict is dropped; the version stays."],
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

export const setShadow = (version, share, { shadow }) => {
  const isEnd = share === 0;
  const replaced = shadow && shadow.version !== version ? [`The shadow ${shadow.version} ends.`] : [];
  return {
    title: isEnd ? `End the shadow ${version}?` : `Let ${version} shadow ${share} %?`,
    consequences: isEnd
      ? ["Its answers so far can still be compared."]
      : [`After its own answer, ${share} % of the requests are answered by ${version} too; users don't see it.`,
        LOADED_FIRST, ...replaced],
    button: isEnd ? "End the shadow" : `Shadow ${share} %`,
    path: `/admin/models/${inPath(version)}/shadow`,
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

export const startExperiment = (experiment, { active }) => {
  const { name, arms } = experiment;
  const left = 100 - arms.reduce((sum, { share }) => sum + share, 0);
  return {
    title: `Start the experiment ${name}?`,
    consequences: [
      `Arms of the users: ${arms.map(describeArm).join("; ")}. A user stays in the same arm.`,
      ...(left > 0 ? [`${Number(left.toPrecision(6))} % of the users are in no arm and are answered as before.`] : []),
      ...(arms.some(({ version }) => version && version !== active) ? [LOADED_FIRST] : []),
      "Answers and the clicks that follow them are counted by arm.",
    ],
    button: "Start",
    path: "/admin/experiments",
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
