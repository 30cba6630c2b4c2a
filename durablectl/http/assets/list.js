// The list of workflows, with what it is filtered by.

import { request, withQuery } from "./api.js";
import { byId, fill, h, problem } from "./dom.js";
import { facets } from "./facets.js";
import { follow, show, throttled } from "./live.js";
import { duration, moment } from "./times.js";
import { count, failure, isEnded, situation, statusOf } from "./words.js";

const REFRESH_MILLISECONDS = 1500;
const ANNOUNCE_MILLISECONDS = 15000;
const PAGE = 50;
const FIELDS = [
  ["partition_key", "Partition key", "any", "off"],
  ["since", "Changed since", "2h, 3d, 2026-11-22", "off"],
  ["error", "Error holds", "any text", "off"],
];

const linkTo = (query) => withQuery("#/", query);

export function showList(view, query) {
  const aside = h("aside", { class: "facets", "aria-label": "Filters by count" });
  const total = h("p", { class: "total" });
  const trouble = h("div");
  const rows = h("tbody");
  const table = h("table", { class: "workflows", hidden: true },
    h("thead", {}, h("tr", {}, ["Status", "Workflow", "Handler", "What it does", "Changed", "Took"].map(
      (title) => h("th", { scope: "col" }, title)))),
    rows);
  const more = h("nav", { class: "pages", "aria-label": "Pages of the list" });
  view.append(h("h1", { class: "hidden" }, "Workflows"), aside,
    h("section", { class: "results", "aria-label": "Workflows" }, form(query), trouble, total, table, more));

  let announced = 0;
  const listed = { ...query, limit: PAGE };
  async function refresh() {
    try {
      const { partition_key, since } = query;
      const [page, stats] = await Promise.all([
        request(withQuery("api/workflows", listed)),
        request(withQuery("api/workflows/stats", { partition_key, since })),
      ]);
      trouble.replaceChildren();
      fill(aside, facets(stats, query, linkTo));
      fill(total, stats.total || page.total ? count(page.total, "workflow") : "");
      table.hidden = !page.workflows.length;
      fill(rows, page.workflows.length ? page.workflows.map(row) : []);
      fill(more, page.workflows.length ? pages(query, page) : [nothing(query)]);
      if (performance.now() > announced) {
        announced = performance.now() + ANNOUNCE_MILLISECONDS;
        byId("announcement").textContent = `${count(page.total, "workflow")}, ${stats.by_status.running ?? 0} running, `
          + `${stats.by_status.failed ?? 0} failed`;
      }
      return true;
    } catch (error) {
      if (error.status === 404) fill(more, welcome(error.message)); // The namespace has not been set up.
      else trouble.replaceChildren(problem(error));
      return error.status === 503 ? null : error.status >= 400;
    }
  }

  const soon = throttled(refresh, REFRESH_MILLISECONDS);
  refresh().then((worked) => { if (worked === null) show("lost"); });
  return follow("api/events", { changed: soon, refresh }).end;
}

function row(workflow) {
  const { invocation_id: id, started_at: from, finished_at: to } = workflow;
  const doing = isEnded(workflow)
    ? [failure(workflow) || workflow.reason || count(workflow.total_steps, "step")] : situation(workflow);
  const title = doing.map((part) => part.textContent ?? part).join("");
  const took = from && to ? duration(Date.parse(to) - Date.parse(from)) : "";
  return h("tr", {},
    h("td", { class: "state" }, statusOf(workflow)),
    h("th", { scope: "row", class: "id" }, h("a", { href: `#/workflow/${encodeURIComponent(id)}` }, id)),
    h("td", { class: "handler" }, workflow.handler),
    h("td", { class: "doing" }, h("span", { title }, doing)),
    h("td", { class: "when" }, moment(workflow.updated_at)),
    h("td", { class: "took" }, took));
}

function pages(query, page) {
  const { cursor, ...first } = query;
  return [
    cursor ? h("a", { href: linkTo(first) }, "« Newest") : null,
    page.next_cursor ? h("a", { href: linkTo({ ...first, cursor: page.next_cursor }) }, "Older ›") : null,
  ];
}

function nothing(query) {
  if (Object.keys(query).length > 0) {
    return h("p", { class: "empty" }, "No workflow matches. ", h("a", { href: "#/" }, "Show all"));
  }
  return welcome("");
}

function welcome(sentence) {
  return h("div", { class: "empty" }, h("h2", {}, "No workflows yet"), h("p", {}, sentence),
    h("p", {}, "Start one, and it appears here by itself:"),
    h("pre", { tabindex: 0 }, "durablectl wf start HANDLER --input '\"user-001\"'"));
}

function form(query) {
  const fields = FIELDS.map(([name, label, placeholder, autocomplete]) => h("label", {}, h("span", {}, label),
    h("input", { name, placeholder, autocomplete, value: query[name], type: "search", spellcheck: "false" })));
  const isOpen = !matchMedia("(max-width: 640px)").matches || FIELDS.some(([name]) => query[name]);
  return h("details", { class: "more", open: isOpen }, h("summary", {}, "More filters"), h("form", { class: "filters", role: "search", "aria-label": "Filters", onsubmit: (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    const { cursor, ...kept } = query;
    location.hash = linkTo({ ...kept, ...given });
  } }, fields, h("button", {}, "Filter"), Object.keys(query).length ? h("a", { href: "#/" }, "Clear") : null));
}
