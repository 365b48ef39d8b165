// Light or dark, as the front end has it now and whenever it changes.
//
// Knows how front ends say which theme they have. Never knows terminals.

const LIGHT = {
  background: "#ffffff",
  foreground: "#24292f",
  cursor: "#24292f",
  cursorAccent: "#ffffff",
  selectionBackground: "#b6d7ff",
  selectionInactiveBackground: "#dfe5ec",
  black: "#24292f",
  red: "#c0261b",
  green: "#1a6f37",
  yellow: "#805500",
  blue: "#0a58c2",
  magenta: "#8431b5",
  cyan: "#0f6e80",
  white: "#646d76",
  brightBlack: "#57606a",
  brightRed: "#a81c12",
  brightGreen: "#12602d",
  brightYellow: "#6b4700",
  brightBlue: "#0747a1",
  brightMagenta: "#6f239c",
  brightCyan: "#0a5b6a",
  brightWhite: "#424a53",
};

const DARK = {
  background: "#181818",
  foreground: "#dfe2e7",
  cursor: "#dfe2e7",
  cursorAccent: "#181818",
  selectionBackground: "#2f5688",
  selectionInactiveBackground: "#363b44",
  black: "#7d8590",
  red: "#ff7b72",
  green: "#57c26d",
  yellow: "#d9a83c",
  blue: "#6cb0ff",
  magenta: "#cf9bff",
  cyan: "#4fc3d4",
  white: "#c5cad1",
  brightBlack: "#8f98a3",
  brightRed: "#ffa198",
  brightGreen: "#7ee294",
  brightYellow: "#f0c75e",
  brightBlue: "#9ccaff",
  brightMagenta: "#e0bfff",
  brightCyan: "#82dfec",
  brightWhite: "#f4f6f8",
};

// Colours that programs choose are moved until they can be read on the background (WCAG 1.4.3).
export const CONTRAST = 4.5;

export const palette = (dark) => (dark ? DARK : LIGHT);

export function isDark(document) {
  const { body, documentElement: root } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false"; // JupyterLab
  const kind = body.dataset.vscodeThemeKind; // VS Code
  if (kind) return !kind.includes("light");
  if (root.getAttribute("theme")) return root.getAttribute("theme") === "dark"; // Colab
  const rgb = getComputedStyle(body).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
  if (rgb.length === 3 || rgb[3] > 0) return 0.3 * rgb[0] + 0.6 * rgb[1] + 0.1 * rgb[2] < 128;
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// Calls back at once and with each change; returns what ends that.
export function followTheme(document, apply) {
  let last = null;
  const look = () => {
    const dark = isDark(document);
    if (dark !== last) apply((last = dark));
  };
  const observer = new MutationObserver(look);
  for (const each of [document.body, document.documentElement]) {
    observer.observe(each, { attributes: true });
  }
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", look);
  look();
  return () => {
    observer.disconnect();
    system.removeEventListener("change", look);
  };
}
