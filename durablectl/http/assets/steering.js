// The buttons that steer a workflow: those that its status allows, each confirmed in a dialog.

import { request, withQuery, workflowPath } from "./api.js";
import { h, notify, problem } from "./dom.js";
import { isCancelling, isEnded } from "./words.js";

const OPERATIONS = {
  pause: {
    label: "Pause",
    tells: "No further step is started. A step in flight ends first, and its result is kept.",
    takesReason: true,
    isPossible: (workflow) => !isEnded(workflow) && workflow.status !== "paused" && !isCancelling(workflow),
  },
  resume: {
    label: "Resume",
    tells: "It goes on from its journal: what has been done is not done again.",
    isPossible: (workflow) => workflow.status === "paused",
  },
  retry: {
    label: "Retry",
    tells: "It goes on from its first unfinished step: what has been done is not done again.",
    isPossible: (workflow) => ["failed", "cancelled"].includes(workflow.status),
  },
  cancel: {
    label: "Cancel",
    tells: "The step in flight is interrupted and the compensations run. Its children are cancelled with it.",
    takesReason: true,
    isDangerous: true,
    isPossible: (workflow) => !isEnded(workflow) && !isCancelling(workflow),
  },
};

// Returns what draws the buttons for a workflow as it is now.
export function steering(place, id, done) {
  if (document.documentElement.dataset.readOnly === "true") return () => {};
  const buttons = Object.entries(OPERATIONS).map(([name, operation]) => {
    const button = h("button", { type: "button", hidden: true, class: operation.isDangerous ? "danger" : null,
      onclick: () => confirm(name, operation, id, done) }, operation.label);
    return [operation, button];
  });
  place.append(...buttons.map(([, button]) => button));
  return (workflow) => {
    for (const [operation, button] of buttons) button.hidden = !operation.isPossible(workflow);
  };
}

function confirm(name, operation, id, done) {
  const failure = h("div");
  const reason = h("input", { name: "reason", maxlength: 2000, autocomplete: "off" });
  const act = h("button", { class: operation.isDangerous ? "danger" : "main" }, `${operation.label} it`);
  const leave = h("button", { type: "button", onclick: () => dialog.close() }, "Leave it");
  const form = h("form", { method: "dialog", onsubmit: (event) => {
    event.preventDefault();
    send();
  } },
  h("h2", { id: "question" }, `${operation.label} this workflow?`),
  h("p", { class: "id" }, id),
  h("p", { id: "consequence" }, operation.tells),
  operation.takesReason ? h("label", {}, h("span", {}, "Reason (kept, and shown everywhere)"), reason) : null,
  failure,
  h("div", { class: "buttons" }, leave, act));
  const dialog = h("dialog", { "aria-labelledby": "question", "aria-describedby": "consequence",
    onclose: () => dialog.remove() }, form);

  async function send() {
    act.disabled = true;
    failure.replaceChildren();
    try {
      const path = withQuery(`${workflowPath(id)}/${name}`, { reason: reason.value.trim() });
      const { message } = await request(path, { method: "POST" });
      dialog.close();
      notify(message);
      await done();
    } catch (error) {
      failure.replaceChildren(problem(error));
      act.disabled = false;
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  (operation.takesReason ? reason : leave).focus();
}
