// What stands around the screen: a line above it, and a bar below it when there is something to say.
//
// Knows elements. Never knows xterm or messages.

import { LEAVE } from "./keys.js";

const WORDS = {
  new: "connecting",
  connecting: "connecting",
  open: "open",
  ended: "ended",
  lost: "lost",
  failed: "failed",
  closed: "closed",
};

const SAID = {
  new: "Connecting …",
  connecting: "Connecting …",
  ended: "The session has ended.",
  closed: "The session was closed from the notebook.",
};

const keys = LEAVE.replace("Control", "Ctrl").replaceAll("+", " + ");

export class Frame {
  constructor(root, { onClose, onAgain, onReader }) {
    this.root = root;
    root.classList.add("ecs-terminal");
    // Attribute of Lumino: none of the notebook's shortcuts inside.
    root.dataset.lmSuppressShortcuts = "true";
    root.setAttribute("role", "group");

    this.dot = make("span", "ecs-terminal-dot");
    this.dot.setAttribute("aria-hidden", "true");
    this.word = make("span", "ecs-terminal-word");
    this.where = make("span", "ecs-terminal-where");
    this.program = make("code", "ecs-terminal-program");
    this.reader = button("Screen reader", onReader, "Makes what is shown readable for screen readers");
    this.reader.setAttribute("aria-pressed", "false");
    this.end = button("End", onClose, "End the session and its program");
    this.head = make("div", "ecs-terminal-head");
    const buttons = make("span", "ecs-terminal-buttons");
    buttons.append(this.reader, this.end);
    this.head.append(this.dot, this.word, this.where, this.program, buttons);

    this.screen = make("div", "ecs-terminal-screen");
    this.host = make("div", "ecs-terminal-host");
    this.screen.append(this.host);

    this.bar = make("div", "ecs-terminal-bar");
    this.said = make("div", "ecs-terminal-said");
    this.said.setAttribute("role", "status");
    this.again = button("New session", onAgain);
    this.bar.append(this.said, this.again);

    root.replaceChildren(this.head, this.screen, this.bar);
  }

  // Show a state; note is what this page has to say besides what the kernel says.
  show(status, note) {
    const { state, where, address, program, lines } = status;
    this.root.dataset.state = state;
    this.word.textContent = WORDS[state] ?? state;
    this.where.textContent = where;
    this.where.title = address;
    this.program.textContent = program;
    this.program.title = program;
    this.end.hidden = !["connecting", "open"].includes(state);
    this.again.hidden = !["ended", "lost", "failed"].includes(state);
    const said = lines.length ? lines : SAID[state] ? [SAID[state]] : [];
    const all = note ? [...said, note] : said;
    this.bar.hidden = !all.length && this.again.hidden;
    this.said.replaceChildren(...all.map((line) => make("div", "", line)));
    this.root.setAttribute("aria-label", `Terminal in ${address}, ${WORDS[state] ?? state}`);
  }

  label(textarea) {
    const text = `Terminal. All keys go to the container; ${keys} leaves it.`;
    textarea.setAttribute("aria-label", text);
    this.host.title = `${keys} leaves the terminal`;
  }

  // Where the keyboard goes when it leaves the screen.
  leave() {
    [this.again, this.end, this.reader].find((each) => !each.hidden)?.focus();
  }
}

function make(tag, name, text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = text;
  return element;
}

function button(text, onClick, title = "") {
  const element = make("button", "ecs-terminal-button", text);
  element.type = "button";
  if (title) element.title = title;
  element.addEventListener("click", onClick);
  return element;
}
