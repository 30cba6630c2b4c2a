// Changes as they are pushed. While no stream is to be had, the page asks now and then instead.

import { byId } from "./dom.js";

const AGAIN_MILLISECONDS = 3000;

const SAID = {
  live: "live",
  connecting: "connecting",
  polling: "asking every 3 s",
  lost: "NATS is out of reach",
  offline: "out of reach",
  ended: "ended",
};

export function show(state) {
  const shown = byId("connection");
  shown.dataset.state = state;
  if (shown.textContent !== SAID[state]) shown.textContent = SAID[state];
}

// `changed(object)` gets the snapshot and each change, `refresh()` is to ask for everything, and resolves to whether
// that worked: null says that only NATS is out of reach. Returns `end`, and `resume` for what had ended and goes on.
export function follow(path, { changed, refresh }) {
  let source = null;
  let timer = 0;
  let isOver = false;
  let hasEnded = false;

  const read = (event) => {
    show("live");
    changed(JSON.parse(event.data));
  };

  async function ask() {
    clearTimeout(timer);
    const worked = await refresh();
    if (isOver) return;
    if (!worked) show(worked === null ? "lost" : "offline");
    else show(source.readyState === EventSource.OPEN ? "live" : "polling");
  }

  function open() {
    if (isOver) return;
    hasEnded = false;
    source = new EventSource(path);
    source.onopen = () => show("live");
    source.addEventListener("change", read);
    source.addEventListener("snapshot", read);
    source.addEventListener("connection", (event) => {
      if (JSON.parse(event.data).status === "lost") show("lost");
      else ask();
    });
    source.addEventListener("end", () => {
      source.close();
      hasEnded = true;
      show("ended");
    });
    source.addEventListener("error", (event) => {
      if (event.data === undefined && source.readyState === EventSource.CONNECTING) show("connecting");
      if (source.readyState !== EventSource.CLOSED) return;
      ask();
      timer = setTimeout(open, AGAIN_MILLISECONDS);
    });
  }

  open();
  return {
    resume: () => { if (hasEnded) open(); },
    end: () => {
      isOver = true;
      clearTimeout(timer);
      source.close();
    },
  };
}

// Calls `work` soon, and then at most so often; its own duration counts twice, so that a slow server is asked less.
export function throttled(work, milliseconds) {
  let isWaiting = false;
  let free = 0;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    setTimeout(async () => {
      const began = performance.now();
      isWaiting = false;
      await work();
      free = performance.now() + milliseconds + (performance.now() - began);
    }, Math.max(50, free - performance.now()));
  };
}
