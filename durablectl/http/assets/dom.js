// Elements without markup: whatever a workflow holds becomes text, never HTML.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

// Replace the children only where something differs, so that focus and selection stay.
export function fill(element, ...children) {
  const fresh = element.cloneNode(false);
  fresh.append(...h("template", {}, ...children).childNodes);
  if (fresh.isEqualNode(element)) return;
  const places = (root) => [...root.querySelectorAll("a[href], button, summary, input")];
  const focused = places(element).indexOf(document.activeElement);
  element.replaceChildren(...fresh.childNodes);
  if (focused >= 0) places(element)[focused]?.focus({ preventScroll: true });
}

export const byId = (id) => document.getElementById(id);

// A sentence that is seen for a while, and read out.
let hiding = 0;
export function notify(sentence) {
  const notice = byId("notice");
  notice.textContent = sentence;
  notice.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { notice.hidden = true; }, 8000);
}

export function problem(error) {
  const hint = error.hint ? h("span", { class: "hint" }, ` ${error.hint}`) : null;
  return h("p", { class: "problem", role: "alert" }, h("span", { "aria-hidden": "true" }, "✗ "), error.message, hint);
}
