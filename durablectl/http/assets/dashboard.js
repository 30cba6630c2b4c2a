// Which page is shown: the place behind # says it, so that every view has a link.

import { byId, h } from "./dom.js";
import { showList } from "./list.js";
import { tick } from "./times.js";
import { showWorkflow } from "./workflow.js";

let leave = () => {};

function place() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const named = path.startsWith("/workflow/") ? path.slice("/workflow/".length) : "";
  const id = /%(?![0-9a-f]{2})/i.test(named) ? named : decodeURIComponent(named); // Typed by hand, it may be anything.
  return { id, query: Object.fromEntries(new URLSearchParams(query)) };
}

function show() {
  if (location.hash === "#main") return;
  leave();
  const main = byId("main");
  const view = h("div", { class: "view" });
  main.replaceChildren(view);
  const { id, query } = place();
  document.title = id ? `${id} · durablectl` : "durablectl";
  if (id) byId("to-list").removeAttribute("aria-current");
  else byId("to-list").setAttribute("aria-current", "page");
  leave = id ? showWorkflow(view, id, query) : showList(view, query);
}

byId("read-only").hidden = document.documentElement.dataset.readOnly !== "true";
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", show);
setInterval(tick, 1000);
show();
