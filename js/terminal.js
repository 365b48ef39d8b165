// The terminal widget: one view of a session that the kernel holds.
//
// Knows the messages of terminal.py, and puts frame, screen and feed together.

import { Feed } from "./feed.js";
import { Frame } from "./frame.js";
import { Screen } from "./screen.js";

const SILENCE = 2000; // ms after a key in which the kernel should have said something
const NONE = new Uint8Array();

const BUSY = "The kernel does not answer: it runs a cell, or is gone. Keys wait.";
const GONE = "The kernel is gone, and the session with it.";

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2);
  const send = (kind, content = {}, buffers = []) =>
    model.send({ kind, view, ...content }, undefined, buffers);
  let note = "";
  let gone = false;
  let timer = 0;

  const root = document.createElement("div");
  el.append(root);
  const frame = new Frame(root, {
    onClose: () => send("close"),
    onAgain: () => {
      send("again", screen.size);
      screen.term.focus();
    },
    onReader: () => {
      const on = !screen.term.options.screenReaderMode;
      screen.term.options.screenReaderMode = on;
      frame.reader.setAttribute("aria-pressed", String(on));
    },
  });
  const status = () => {
    const told = model.get("status");
    return gone ? { ...told, state: "closed", lines: [GONE] } : told;
  };
  const show = () => {
    const now = status();
    frame.show(now, note);
    screen.term.options.disableStdin = now.state !== "open";
  };
  const say = (text) => {
    if (note !== text) {
      note = text;
      show();
    }
  };
  const owns = () => model.get("owner") === view;

  const screen = new Screen(frame.host, model.get("rows"), {
    onReady: () => {
      frame.label(screen.term.textarea);
      feed.hello();
    },
    onKeys: (bytes) => {
      if (status().state !== "open") return;
      send("keys", {}, [bytes]);
      watch();
    },
    onSize: (columns, rows) => owns() && send("size", { columns, rows }),
    // The view that is used decides on the size and answers the far end's questions.
    onFocus: () => owns() || gone || send("size", screen.size),
    onLeave: () => frame.leave(),
    onNote: say,
    muted: () => feed.replays > 0 || !owns(),
  });
  const feed = new Feed({
    write: (data, done) => screen.term.write(data, done),
    clear: () => screen.term.reset(),
    ask: (from) => send("hello", { from, ...screen.size }),
    ack: (at) => send("ack", { at }),
  });

  // Nothing comes after a key: perhaps messages were lost, and then they come again; perhaps the
  // kernel is busy, and then it is said.
  const watch = () => {
    if (timer) return;
    timer = setTimeout(() => {
      feed.hello();
      timer = setTimeout(() => say(BUSY), SILENCE);
    }, SILENCE);
  };
  const heard = () => {
    clearTimeout(timer);
    timer = 0;
    if (gone) gone = false;
    say("");
  };

  const onMessage = (message, buffers) => {
    const [first, second] = (buffers ?? []).map(bytesOf);
    if (message.kind === "output") {
      heard();
      feed.output(message.at, first ?? NONE);
    } else if (message.kind === "replay" && message.view === view) {
      heard();
      feed.replay(message.at, first ?? NONE, second ?? NONE, message.clear);
    }
  };
  const onGone = () => {
    gone = true;
    show();
  };
  model.on("msg:custom", onMessage);
  model.on("change:status", show);
  model.on("comm:close", onGone);
  model.on("comm_live_update", onGone);

  // Keys typed here are no business of the notebook's.
  for (const kind of ["keydown", "keyup", "keypress"]) {
    root.addEventListener(kind, (event) => event.stopPropagation());
  }
  root.terminal = screen.term; // for whoever looks at it from outside
  show();

  return () => {
    clearTimeout(timer);
    model.off("msg:custom", onMessage);
    model.off("change:status", show);
    model.off("comm:close", onGone);
    model.off("comm_live_update", onGone);
    if (!gone) send("bye");
    screen.dispose();
  };
}

const bytesOf = (view) => new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);

export default { render };
