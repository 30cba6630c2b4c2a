// Stored values, as text.

import { h } from "./dom.js";

const MOST_CHARACTERS = 200_000;

export function block(label, value) {
  const text = typeof value === "string" && label !== "Input" && label !== "Result" ? value : JSON.stringify(value, null, 2);
  const shown = text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}\n… ${text.length} characters` : text;
  return h("pre", { tabindex: 0, "aria-label": label, "data-label": label }, shown);
}

export function folded(name, value, open) {
  return h("details", { "data-name": name, open: open.has(name) }, h("summary", {}, name), block(name, value));
}
