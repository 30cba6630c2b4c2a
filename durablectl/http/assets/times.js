// Times and durations in words, some of which tick.

import { serverNow } from "./api.js";
import { h } from "./dom.js";

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

export function duration(milliseconds) {
  const ms = Math.max(0, milliseconds);
  if (ms < 1000) return `${Math.floor(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 10) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (seconds < 60) return `${seconds} s`;
  const two = (value) => String(value).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

function age(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const unit = UNITS.find(([size]) => seconds >= size);
  return unit ? `${Math.floor(seconds / unit[0])} ${unit[1]}` : `${seconds} s`;
}

const WORDS = {
  moment: (at, now) => (at > now + 500 ? `in ${age(at - now)}` : `${age(now - at)} ago`),
  clock: (at, now) => (now - at < 1000 ? "under 1 s" : duration(Math.floor((now - at) / 1000) * 1000).replace(".0 ", " ")),
  countdown: (at, now) => duration(Math.max(0, Math.ceil((at - now) / 1000)) * 1000).replace(".0 ", " ").replace("0 ms", "0 s"),
};

function ticking(kind, iso) {
  const at = Date.parse(iso);
  const title = `${new Date(at).toLocaleString()} (${iso})`;
  return h("time", { datetime: iso, title, "data-tick": kind }, WORDS[kind](at, serverNow()));
}

export const moment = (iso) => (iso ? ticking("moment", iso) : null);
export const clock = (iso) => ticking("clock", iso);
export const countdown = (iso) => ticking("countdown", iso);

export function tick() {
  const now = serverNow();
  for (const element of document.querySelectorAll("time[data-tick]")) {
    const text = WORDS[element.dataset.tick](Date.parse(element.dateTime), now);
    if (element.textContent !== text) element.textContent = text;
  }
}
