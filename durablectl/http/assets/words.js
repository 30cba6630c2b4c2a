// What a workflow is doing, in the signs and sentences of the CLI (durablectl/cli/render/signs.py and situation.py).

import { h } from "./dom.js";
import { clock, countdown, duration } from "./times.js";

export const STATUSES = ["pending", "running", "suspended", "paused", "completed", "failed", "cancelled"];
const ENDED = new Set(["completed", "failed", "cancelled"]);
const CANCELLATIONS = new Set(["cancelled_by_operator", "cancelled_with_parent"]);
const SIGNS = {
  pending: "…", running: "▶\uFE0E", suspended: "☾", paused: "‖", completed: "✓", failed: "✗", cancelled: "⊘",
  retrying: "↻", waiting: "☾", done: "✓", abandoned: "⊘",
};

export const isEnded = (workflow) => ENDED.has(workflow.status);
export const isRetrying = (workflow) => workflow.waiting_for?.kind === "retry";
const isOrphaned = (workflow) => workflow.waiting_for?.kind === "takeover";
export const isCancelling = (workflow) =>
  workflow.status === "running" && CANCELLATIONS.has(workflow.reason_code);

// The sign, and the word that it stands for.
export function sign(state) {
  return h("span", { class: "sign", "data-state": state, "aria-hidden": "true" }, SIGNS[state] ?? "?");
}

export function stateOf(workflow) {
  const mayRetry = ["running", "suspended"].includes(workflow.status);
  return mayRetry && isRetrying(workflow) ? "retrying" : workflow.status;
}

export function statusOf(workflow) {
  const state = stateOf(workflow);
  return h("span", { class: "status", "data-state": state }, sign(state), ` ${state}`);
}

export const isOpen = (step) => Boolean(step.started_at) && !step.finished_at && !step.error;

// Whether the current step is really under way: it stays in the record for a moment after its end.
export function hasCurrent(workflow) {
  if (workflow.current_step < 0) return false;
  return (workflow.journal ?? []).every((step) => step.step_number !== workflow.current_step || isOpen(step));
}

export function failure(of) {
  const typed = of.error && of.error_type && of.error_type !== "StepError";
  return typed ? `${of.error_type}: ${of.error}` : of.error ?? "";
}

export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

const WAITS = { awakeable: "the awakeable", signal: "the signal", child: "the child workflow" };

function waiting({ kind, name, until, attempt, error }) {
  switch (kind) {
    case "retry": return [`retrying: ${error} (${name}, attempt ${attempt} failed, next in `, countdown(until), ")"];
    case "processor": return [`waiting: no live processor has registered handler ${name}`];
    case "takeover": return [`waiting: its processor ${name} is gone, and no other has taken it over yet`];
    case "sleep": return ["sleeping, wakes in ", countdown(until)];
    case "start": return ["starts in ", countdown(until)];
    default: {
      const most = until ? [", at most another ", countdown(until)] : [];
      return [`waiting for ${WAITS[kind] ?? kind} ${name.split(":").slice(1).join(":") || name}`, ...most];
    }
  }
}

function ended(workflow) {
  const took = workflow.started_at && workflow.finished_at
    ? ` ${workflow.status === "completed" ? "in" : "after"} `
      + duration(Date.parse(workflow.finished_at) - Date.parse(workflow.started_at))
    : "";
  const told = failure(workflow) || workflow.reason;
  return [`${workflow.status}${took}, ${count(workflow.total_steps, "step")}${told ? `: ${told}` : ""}`];
}

const step = (workflow) => `step ${workflow.current_step} ${workflow.current_step_type}`;

function running(workflow) {
  if (isCancelling(workflow)) {
    return [workflow.reason, hasCurrent(workflow) ? `, running ${step(workflow)}` : ""];
  }
  return hasCurrent(workflow) ? [`running ${step(workflow)} for `, clock(workflow.updated_at)] : ["running"];
}

// One sentence, as text and ticking times.
export function situation(workflow) {
  if (isEnded(workflow)) return ended(workflow);
  if (workflow.waiting_for && workflow.status !== "paused" && !isCancelling(workflow)) return waiting(workflow.waiting_for);
  if (workflow.status === "pending") return ["waiting for a processor to pick it up"];
  if (workflow.status === "running" && !isOrphaned(workflow)) return running(workflow);
  const inFlight = workflow.status === "paused" && workflow.owner && hasCurrent(workflow);
  return [workflow.status, workflow.reason ? `: ${workflow.reason}` : "",
    inFlight ? ` (${step(workflow)} is in flight and ends first)` : ""];
}
