// One xterm in an element: its keys, its clipboard, its size, its theme.
//
// Knows xterm. Never knows widgets or the kernel.

import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { purpose } from "./keys.js";
import { CONTRAST, followTheme, palette } from "./theme.js";

const SETTLE = 120; // ms without a change after which a size counts
const MOST_PASTED = 1024 * 1024;

// Sequences that a terminal answers: a second view, or a replay, must not answer once more.
const QUESTIONS = [
  { final: "c" },
  { prefix: ">", final: "c" },
  { prefix: "=", final: "c" },
  { final: "n" },
  { prefix: "?", final: "n" },
  { prefix: ">", final: "q" },
  { intermediates: "$", final: "p" },
  { prefix: "?", intermediates: "$", final: "p" },
  { final: "t" },
];
const COLOURS = [4, 10, 11, 12];

export class Screen {
  // onReady(): it is in the document and has its size; onKeys(bytes), onSize(columns, rows),
  // onFocus(), onLeave(), onNote(text); muted(): whether questions are left to others.
  constructor(host, rows, on) {
    this.host = host;
    this.ends = [];
    this.term = new Terminal({
      cursorInactiveStyle: "outline",
      lineHeight: 1.15,
      minimumContrastRatio: CONTRAST,
      rows,
      scrollback: 5000,
    });
    this.fitting = new FitAddon();
    this.term.loadAddon(this.fitting);
    const bytes = new TextEncoder();
    this.term.onData((text) => on.onKeys(bytes.encode(text)));
    this.term.onBinary((text) => on.onKeys(Uint8Array.from(text, (char) => char.charCodeAt(0))));
    this.term.attachCustomKeyEventHandler((event) => this.#key(event, on.onLeave));
    host.addEventListener("paste", (event) => this.#paste(event, on.onNote), true);
    this.#mute(on.muted);

    // Front ends render before they show, and until then no letter has a size.
    const shown = new ResizeObserver(() => {
      if (!host.clientWidth) return;
      shown.disconnect();
      this.#open(rows, on);
    });
    shown.observe(host);
    this.ends.push(() => shown.disconnect());
  }

  #open(rows, on) {
    const { term, host } = this;
    const style = getComputedStyle(host);
    term.options.fontFamily = style.fontFamily;
    term.options.fontSize = parseFloat(style.fontSize) || 13;
    term.open(host);
    term.textarea.addEventListener("focus", on.onFocus);
    this.ends.push(
      followTheme(document, (dark) => {
        term.options.theme = palette(dark);
        host.parentElement.dataset.dark = dark;
      }),
    );
    this.#height(rows);
    this.#follow(on.onSize);
    on.onReady();
  }

  get size() {
    return { columns: this.term.cols, rows: this.term.rows };
  }

  fit() {
    const { clientWidth, clientHeight } = this.host.parentElement;
    if (clientWidth && clientHeight) this.fitting.fit(); // not while it is hidden
  }

  dispose() {
    for (const end of this.ends) end();
    this.term.dispose();
  }

  #key(event, onLeave) {
    const what = purpose(event);
    if (what === "far") return true;
    if (event.type === "keydown" && what === "leave") {
      event.preventDefault();
      onLeave();
    } else if (event.type === "keydown" && what === "copy") {
      event.preventDefault();
      if (this.term.hasSelection()) document.execCommand("copy"); // xterm fills in the selection
    }
    return false; // a paste event follows by itself
  }

  #paste(event, onNote) {
    const size = event.clipboardData?.getData("text/plain").length ?? 0;
    if (size <= MOST_PASTED) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    onNote(`${(size / MOST_PASTED).toFixed(1)} MB are too much to paste: nothing was sent.`);
  }

  #mute(muted) {
    const { parser } = this.term;
    for (const each of QUESTIONS) parser.registerCsiHandler(each, muted);
    for (const each of COLOURS) {
      parser.registerOscHandler(each, (data) => data.includes("?") && muted());
    }
    parser.registerDcsHandler({ intermediates: "$", final: "q" }, muted);
  }

  // As high as its rows; from then on it can be dragged.
  #height(rows) {
    const line = this.term.element.querySelector(".xterm-screen").clientHeight / this.term.rows;
    const frame = this.host.parentElement;
    const style = getComputedStyle(this.host);
    const around = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
    frame.style.height = `${Math.ceil(rows * (line || 17) + around)}px`;
  }

  #follow(onSize) {
    let timer = 0;
    let last = "";
    const settled = () => {
      this.fit();
      const { columns, rows } = this.size;
      if (last !== (last = `${columns} ${rows}`)) onSize(columns, rows);
    };
    this.fit();
    last = `${this.term.cols} ${this.term.rows}`;
    const observer = new ResizeObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(settled, SETTLE);
    });
    observer.observe(this.host.parentElement);
    this.ends.push(() => {
      clearTimeout(timer);
      observer.disconnect();
    });
  }
}
