// Which keys the page keeps for itself; all others go to the far end.
//
// Knows keyboard events. Never knows what is done about them.

const MAC = /Mac|iPhone|iPad/.test(globalThis.navigator?.platform ?? "");

// The way out of the terminal by keyboard (WCAG 2.1.2). Tab and Escape belong to the far end.
export const LEAVE = "Control+Shift+F6";

// What a key is for: "leave", "copy", "paste" (left to the browser, which then fires a paste event),
// or "far" for the far end. Ctrl-C always goes there, as in any terminal.
export function purpose(event, mac = MAC) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "F6" && event.ctrlKey && event.shiftKey) return "leave";
  if (event.altKey) return "far";
  const command = mac ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
  if (!command) return "far";
  if (key === "c" && (mac || event.shiftKey)) return "copy";
  if (key === "v") return "paste";
  return "far";
}
