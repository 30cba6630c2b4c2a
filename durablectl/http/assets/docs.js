// /openapi.json as a page: each route with its parameters, answers and a curl line; what only reads can be tried.

import { ApiError, request } from "./api.js";
import { byId, h, problem } from "./dom.js";
import { exampleOf, resolve, shapeOf } from "./schema.js";

const INDENT = 2;

async function show() {
  const main = byId("main");
  try {
    const api = await request("openapi.json");
    const routes = Object.entries(api.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, route]) => ({ path, method: method.toUpperCase(), ...route })));
    const tags = [...new Set(routes.map((route) => route.tags?.[0] ?? "other"))];
    main.replaceChildren(h("h1", {}, "The HTTP API"), h("p", { class: "about" }, coded(api.info.description.trim())),
      ...tags.map((tag) => h("section", { "aria-label": tag }, h("h2", {}, tag),
        routes.filter((route) => (route.tags?.[0] ?? "other") === tag).map((route) => described(api, route)))));
  } catch (error) {
    main.append(problem(error));
  }
}

function described(api, route) {
  const parameters = (route.parameters ?? []).map((each) => resolve(api, each));
  const body = route.requestBody?.content?.["application/json"];
  return h("details", { class: "route" },
    h("summary", {}, h("span", { class: "method", "data-method": route.method }, route.method), " ",
      h("code", {}, route.path), " ", h("span", { class: "hint" }, route.summary ?? "")),
    h("div", { class: "body" },
      route.description ? h("p", {}, coded(route.description)) : null,
      h("h3", {}, "With curl"), h("pre", { tabindex: 0, "aria-label": "curl line" }, curl(route, body)),
      parameters.length ? [h("h3", {}, "Parameters"), tableOf(parameters)] : null,
      h("h3", {}, "Answers"), Object.entries(route.responses).map(([status, answer]) => answered(api, status, answer)),
      route.method === "GET" ? trial(route, parameters) : null));
}

// Text in which `this` is code.
const coded = (text) => text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));

function curl({ path, method }, body) {
  const url = `${new URL(".", location.href).href.replace(/\/$/, "")}${path}`;
  const flags = [method === "GET" ? "" : `-X ${method}`, path.endsWith("/events") ? "-N" : ""];
  const data = body ? `-d '${JSON.stringify(body.example ?? {})}'` : "";
  return ["curl", ...flags, data, /[?&{}]/.test(url) ? `'${url}'` : url].filter(Boolean).join(" ");
}

function tableOf(parameters) {
  return h("table", {}, h("tbody", {}, parameters.map((each) => h("tr", {},
    h("th", { scope: "row" }, h("code", {}, each.name), each.required ? h("span", { class: "hint" }, " required") : null),
    h("td", { class: "hint" }, each.in),
    h("td", {}, kindOf(each.schema)),
    h("td", {}, coded(each.description ?? ""))))));
}

function kindOf(schema) {
  const known = (schema.anyOf ?? [schema]).filter((each) => each.type !== "null");
  const words = known.map((each) => (each.type === "array" ? `${each.items.type ?? "any"}, repeatable` : each.type ?? "any"));
  const bounds = known.flatMap((each) => [
    each.minimum === undefined ? "" : `from ${each.minimum}`, each.maximum === undefined ? "" : `to ${each.maximum}`]);
  const fallback = [undefined, null, ""].includes(schema.default) ? "" : `default ${schema.default}`;
  return [...new Set(words), ...bounds, fallback].filter(Boolean).join(" ");
}

function answered(api, status, answer) {
  const [type, content] = Object.entries(answer.content ?? {})[0] ?? [];
  const isGood = status.startsWith("2");
  const title = [h("code", { "data-good": String(isGood) }, status), ` ${answer.description ?? ""}`];
  if (type !== "application/json" || !content.schema) return h("p", { class: "answer" }, title, type ? ` (${type})` : "");
  return h("details", { class: "answer" }, h("summary", {}, title),
    h("pre", { tabindex: 0, "aria-label": `Shape of ${status}` }, JSON.stringify(shapeOf(api, content.schema), null, INDENT)));
}

function trial(route, parameters) {
  const result = h("div", { "aria-live": "polite" });
  const fields = parameters.filter((each) => each.in !== "header").map((each) => h("label", {}, h("span", {}, each.name),
    h("input", { name: each.name, required: each.required, autocomplete: "off", spellcheck: "false",
      placeholder: exampleOf(each) })));
  return h("form", { class: "trial", "aria-label": `Try ${route.path}`, onsubmit: (event) => {
    event.preventDefault();
    attempt(route, parameters, new FormData(event.target), result);
  } }, h("h3", {}, "Try it"), h("div", { class: "fields" }, fields), h("button", { class: "main" }, "Send"), result);
}

async function attempt(route, parameters, given, result) {
  let path = route.path.slice(1);
  const query = new URLSearchParams();
  for (const each of parameters) {
    const value = given.get(each.name);
    if (each.in === "path") path = path.replace(`{${each.name}}`, encodeURIComponent(value));
    else if (value) query.set(each.name, value);
  }
  const target = query.size ? `${path}?${query}` : path;
  result.replaceChildren(h("p", { class: "hint" }, `GET /${target}`));
  try {
    result.append(h("pre", { tabindex: 0, "aria-label": "Answer" }, await answerOf(route, target)));
  } catch (error) {
    result.append(problem(error));
  }
}

// A stream does not end: of that, the first part is shown.
async function answerOf(route, target) {
  const isJson = Object.values(route.responses).some((each) => each.content?.["application/json"]);
  const isStream = route.path.endsWith("/events");
  if (isJson && !isStream) return JSON.stringify(await request(target), null, INDENT);
  const response = await fetch(target);
  if (!response.ok) throw new ApiError(response.status, (await response.json()).error);
  if (!isStream) return response.text();
  const reader = response.body.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return new TextDecoder().decode(value);
}

show();
