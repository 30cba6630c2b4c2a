// Counts by status and by handler; each is a link that filters by it, or no longer.

import { h } from "./dom.js";
import { STATUSES, sign } from "./words.js";

const MOST_HANDLERS = 30;

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

export function facets(stats, query, linkTo) {
  const statuses = (query.status ?? "").split(",").filter(Boolean);
  const { cursor, ...kept } = query;
  const chosen = Object.entries(stats.by_handler_status)
    .filter(([handler]) => !query.handler || handler === query.handler).map(([, counts]) => counts);
  const known = [...new Set([...STATUSES, ...Object.keys(stats.by_status)])];
  const handlers = Object.entries(stats.by_handler_status)
    .map(([handler, counts]) => [handler, sum(Object.entries(counts)
      .filter(([status]) => !statuses.length || statuses.includes(status)).map(([, number]) => number))])
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  const shown = handlers.filter(([handler], at) => at < MOST_HANDLERS || handler === query.handler);
  return [
    group("Status", known.map((status) => {
      const others = statuses.filter((each) => each !== status);
      const isChosen = others.length < statuses.length;
      const next = isChosen ? others : [...statuses, status];
      const number = sum(chosen.map((counts) => counts[status] ?? 0));
      return facet([sign(status), ` ${status}`], number, isChosen, linkTo({ ...kept, status: next.join(",") }));
    })),
    handlers.length ? group("Handler", shown.map(([handler, number]) => {
      const isChosen = handler === query.handler;
      return facet([handler], number, isChosen, linkTo({ ...kept, handler: isChosen ? "" : handler }));
    })) : null,
    handlers.length > shown.length ? h("p", { class: "hint" }, `and ${handlers.length - shown.length} more handlers`) : null,
  ];
}

const group = (title, facets) => h("div", { class: "group" }, h("h2", {}, title), h("ul", {}, facets));

function facet(name, number, isChosen, href) {
  return h("li", {}, h("a", { href, "aria-current": isChosen ? "true" : null, class: number ? null : "none" },
    h("span", { class: "name" }, name), h("span", { class: "number" }, number.toLocaleString("en"))));
}
