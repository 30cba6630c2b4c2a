// The page of one workflow.

import { request, withQuery, workflowPath } from "./api.js";
import { fill, h, problem } from "./dom.js";
import { follow, show, throttled } from "./live.js";
import { folded } from "./payload.js";
import { steering } from "./steering.js";
import { timeline } from "./timeline.js";
import { duration, moment } from "./times.js";
import { count, isEnded, situation, stateOf, statusOf } from "./words.js";

const REFRESH_MILLISECONDS = 300;
const STEPS = 50;

const link = (id) => h("a", { href: `#/workflow/${encodeURIComponent(id)}` }, id);

export function showWorkflow(view, id, query) {
  const failure = h("div");
  const head = h("header", { class: "head" });
  const buttons = h("div", { class: "buttons" });
  const payloads = h("div", { class: "payloads" });
  const facts = h("dl", { class: "facts" });
  const steps = timeline();
  const part = h("nav", { class: "pages", "aria-label": "Parts of the journal" });
  view.className = "view workflow";
  view.append(h("p", { class: "crumbs" }, h("a", { href: "#/" }, "‹ Workflows")), failure, head, buttons, facts, payloads,
    steps.element, part);

  let shown = { revision: -1 };
  function draw(workflow) {
    if (workflow.revision < shown.revision) return;
    shown = workflow;
    if (!isEnded(workflow)) stream.resume();
    failure.replaceChildren();
    fill(head, heading(workflow));
    steer(workflow);
    fill(facts, factsOf(workflow));
    if (payloads.dataset.revision !== String(workflow.revision)) fill(payloads, payloadsOf(workflow, payloads));
    payloads.dataset.revision = workflow.revision;
    steps.draw(workflow);
    fill(part, partsOf(workflow));
  }

  const steer = steering(buttons, id, () => refresh());
  async function refresh() {
    try {
      draw(await request(withQuery(workflowPath(id), { steps: query.steps })));
      return true;
    } catch (error) {
      failure.replaceChildren(problem(error));
      return error.status === 503 ? null : error.status >= 400;
    }
  }

  const soon = throttled(refresh, REFRESH_MILLISECONDS);
  const changed = (workflow) => (query.steps ? soon() : draw(workflow)); // What is pushed has the last steps.
  const stream = follow(`${workflowPath(id)}/events`, { changed, refresh });
  refresh().then((worked) => { if (worked === null) show("lost"); });
  const ticker = setInterval(() => { if (shown.journal && !isEnded(shown)) steps.draw(shown); }, 1000);
  return () => {
    clearInterval(ticker);
    stream.end();
  };
}

function heading(workflow) {
  return [
    h("h1", {}, statusOf(workflow), " ", h("span", { class: "handler" }, workflow.handler)),
    h("p", { class: "id" }, workflow.invocation_id),
    h("p", { class: "situation", "data-state": stateOf(workflow) }, situation(workflow)),
  ];
}

function factsOf(workflow) {
  const { started_at: from, finished_at: to } = workflow;
  const facts = [
    ["Created", moment(workflow.created_at)],
    ["Started", moment(from)],
    ["Finished", moment(to)],
    ["Took", from && to ? duration(Date.parse(to) - Date.parse(from)) : null],
    ["Steps", count(workflow.total_steps, "step")],
    ["Attempt", workflow.attempt > 1 ? String(workflow.attempt) : null],
    ["Partition key", workflow.partition_key],
    ["Processor", isEnded(workflow) ? null : workflow.owner],
    ["Schedule", workflow.schedule],
    ["Parent", workflow.parent_id && link(workflow.parent_id)],
    ["Children", workflow.children.length ? workflow.children.map((id) => [link(id), " "]) : null],
    ["Restart of", workflow.restarted_from && link(workflow.restarted_from)],
    ["Restarted as", workflow.restarted_as && link(workflow.restarted_as)],
    ["Kept until", moment(workflow.expires_at)],
  ];
  return facts.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
}

function payloadsOf(workflow, before) {
  const open = new Set([...before.querySelectorAll("details[open]")].map((each) => each.dataset.name));
  const state = Object.keys(workflow.workflow_state).length ? workflow.workflow_state : null;
  return [
    folded("Input", workflow.input, open),
    workflow.status === "completed" ? folded("Result", workflow.output, open) : null,
    workflow.error ? folded("Error", `${workflow.error_type ?? "Error"}: ${workflow.error}`, open) : null,
    workflow.traceback ? folded("Traceback", workflow.traceback, open) : null,
    state ? folded("State", state, open) : null,
  ];
}

function partsOf({ invocation_id: id, journal, journal_start: start, journal_length: length }) {
  const to = (first) => `#/workflow/${encodeURIComponent(id)}?steps=${first}:${first + STEPS}`;
  const end = start + journal.length;
  if (journal.length >= length) return [];
  return [
    start > 0 ? h("a", { href: to(Math.max(0, start - STEPS)) }, "‹ Earlier steps") : null,
    h("span", {}, `${start} to ${end - 1} of ${count(length, "step")}`),
    end < length ? h("a", { href: to(end) }, "Later steps ›") : null,
    end < length ? h("a", { href: `#/workflow/${encodeURIComponent(id)}` }, "Latest »") : null,
  ];
}
