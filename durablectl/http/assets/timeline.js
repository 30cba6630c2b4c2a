// The steps of a workflow as bars by time, each of which opens to show what went in and came out.

import { serverNow } from "./api.js";
import { fill, h } from "./dom.js";
import { block } from "./payload.js";
import { duration, moment } from "./times.js";
import { failure, hasCurrent, isEnded, isOpen, isRetrying, sign } from "./words.js";

const WAITS = new Set(["sleep", "awakeable", "signal", "child", "race"]);
const PHASES = { work: "work", retried: "several attempts", backoff: "pause before the next", wait: "waiting" };
const TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 3e4, 6e4, 12e4, 3e5, 6e5, 12e5, 18e5, 36e5,
  72e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 432e6, 864e6, 1728e6, 432e7, 864e7];
const MOST_TICKS = 5;

// Rows with spans in milliseconds; of what is not over, the end is now.
function rowsOf(workflow, now) {
  const rows = workflow.journal.map((step) => journaled(workflow, step, now));
  const reachesEnd = workflow.journal_start + rows.length >= workflow.journal_length;
  const isKnown = rows.some((row) => row.number === workflow.current_step);
  if (!isEnded(workflow) && hasCurrent(workflow) && !isKnown && reachesEnd) rows.push(current(workflow, rows, now));
  return rows.sort((a, b) => a.number - b.number);
}

function journaled(workflow, step, now) {
  const start = Date.parse(step.started_at) || 0;
  const isOver = !isOpen(step);
  const stopped = Date.parse(workflow.finished_at) || 0;
  const end = Date.parse(step.finished_at) || (isOver || isEnded(workflow) ? stopped : 0);
  const phase = WAITS.has(step.kind) ? "wait" : step.attempts > 1 ? "retried" : "work";
  const spans = start && (step.finished_at || !isOver) ? [[phase, start, Math.max(start, end || now)]] : [];
  const open = isEnded(workflow) ? "abandoned" : "waiting";
  return { number: step.step_number, type: step.step_type, state: isOver ? (step.error ? "failed" : "done") : open,
    attempts: step.attempts, error: step.error ? failure(step) : "", spans, step };
}

function current(workflow, before, now) {
  const since = Math.min(Date.parse(workflow.updated_at), now);
  const row = { number: workflow.current_step, type: workflow.current_step_type, attempts: 0, error: "",
    state: "running", spans: [["work", since, now]] };
  if (isRetrying(workflow)) {
    const ends = before.flatMap((each) => each.spans.map(([, , end]) => end)).filter((end) => end <= since);
    const start = Math.min(since, Math.max(...ends, Date.parse(workflow.started_at) || 0) || since);
    const { attempt, error } = workflow.waiting_for;
    return { ...row, state: "retrying", attempts: attempt, error,
      spans: [["retried", start, since], ["backoff", since, now]] };
  }
  const isStanding = workflow.waiting_for?.kind === "takeover" || (workflow.status !== "running" && !workflow.owner);
  return isStanding ? { ...row, state: "waiting", spans: [["wait", since, now]] } : row;
}

function scaleOf(workflow, rows, now) {
  const spans = rows.flatMap((row) => row.spans);
  if (!spans.length) return null;
  const zero = Date.parse(workflow.started_at) || spans[0][1];
  const isWhole = workflow.journal.length >= workflow.journal_length;
  const low = Math.min(...spans.map(([, start]) => start), ...(isWhole ? [zero] : []));
  const last = isEnded(workflow) ? Date.parse(workflow.finished_at) || 0 : now;
  const high = Math.max(low + 1, ...spans.map(([, , end]) => end), ...(isWhole ? [last] : []));
  return { zero, low, high, at: (moment) => (100 * (moment - low)) / (high - low) };
}

export function timeline() {
  const axis = h("div", { class: "axis", "aria-hidden": "true" });
  const list = h("ol", { class: "steps" });
  const legend = h("p", { class: "legend" });
  const element = h("section", { class: "timeline", "aria-label": "Steps" }, h("h2", {}, "Steps"), axis, list, legend);
  const items = new Map();

  function draw(workflow) {
    const now = serverNow();
    const rows = rowsOf(workflow, now);
    const scale = scaleOf(workflow, rows, now);
    element.hidden = !rows.length;
    drawAxis(axis, scale);
    for (const [number, item] of items) {
      if (!rows.some((row) => row.number === number)) {
        item.element.remove();
        items.delete(number);
      }
    }
    rows.forEach((row, at) => {
      if (!items.has(row.number)) items.set(row.number, stepItem());
      const item = items.get(row.number);
      if (list.children[at] !== item.element) list.insertBefore(item.element, list.children[at] ?? null);
      item.draw(row, scale);
    });
    const used = new Set(rows.flatMap((row) => row.spans.map(([phase]) => phase)));
    fill(legend, used.size === 1 && used.has("work") ? "" : Object.entries(PHASES)
      .filter(([phase]) => used.has(phase)).map(([phase, word]) => [h("i", { class: "bar", "data-phase": phase }), `${word} `]));
  }
  return { element, draw };
}

function drawAxis(axis, scale) {
  if (!scale) return axis.replaceChildren();
  const length = scale.high - scale.low;
  const step = TICKS.find((tick) => length / tick <= MOST_TICKS) ?? TICKS.at(-1);
  const marks = [];
  for (let after = Math.ceil((scale.low - scale.zero) / step) * step; scale.zero + after <= scale.high; after += step) {
    const words = after ? duration(after).replace(".0 ", " ").replace(" 00 s", "").replace(" 00 min", "").replace(" 0 h", "") : "0";
    const mark = h("span", {}, words);
    mark.style.left = `${Math.min(scale.at(scale.zero + after), 100)}%`;
    if (scale.at(scale.zero + after) > 88) mark.className = "last";
    marks.push(mark);
  }
  return axis.replaceChildren(...marks);
}

function stepItem() {
  const name = h("span", { class: "name" });
  const track = h("span", { class: "track", "aria-hidden": "true" });
  const time = h("span", { class: "time" });
  const error = h("span", { class: "error" });
  const body = h("div", { class: "body" });
  const element = h("li", {}, h("details", {}, h("summary", {}, name, track, time, error), body));
  let drawn = "";

  function draw(row, scale) {
    const known = JSON.stringify([row.step, row.state, row.type, row.attempts, row.error]);
    if (known !== drawn) {
      element.dataset.state = row.state;
      name.replaceChildren(sign(row.state), h("span", { class: "hidden" }, ` ${row.state} `),
        h("span", { class: "at" }, String(row.number)), " ", row.type,
        row.attempts > 1 ? h("span", { class: "tries" }, ` ×${row.attempts}`) : "");
      error.textContent = row.error;
      body.replaceChildren(...bodyOf(row));
    }
    drawn = known;
    const [first, last] = [row.spans[0], row.spans.at(-1)];
    time.textContent = first ? duration(last[2] - first[1]) : "";
    track.replaceChildren(...(scale ? row.spans.map((span) => bar(span, scale)) : []));
  }
  return { element, draw };
}

function bar([phase, start, end], scale) {
  const shown = h("i", { class: "bar", "data-phase": phase });
  shown.style.left = `${Math.min(scale.at(start), 99.5)}%`;
  shown.style.width = `${Math.max(0.5, scale.at(end) - scale.at(start))}%`;
  return shown;
}

function bodyOf({ step, attempts }) {
  if (!step) return [h("p", { class: "hint" }, "It is journaled when it ends.")];
  const awaited = step.kind === "child" && step.awaited_id
    ? h("a", { href: `#/workflow/${encodeURIComponent(step.awaited_id)}` }, step.awaited_id) : step.awaited_id;
  const facts = [["Kind", step.kind], ["Attempts", attempts > 1 ? String(attempts) : null], ["Started", moment(step.started_at)],
    ["Finished", moment(step.finished_at)], ["Until", moment(step.until)], ["Awaits", awaited]];
  const payloads = [["Input", step.request], ["Result", step.response], ["Error", step.error ? failure(step) : null]];
  return [
    h("dl", { class: "facts" }, facts.filter(([, value]) => value)
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    ...payloads.filter(([, value]) => value !== null)
      .map(([label, value]) => h("div", { class: "payload" }, h("h3", {}, label), block(label, value))),
  ];
}
