import assert from "node:assert/strict";
import { test } from "node:test";
import { purpose } from "../keys.js";

const key = (name, held = "") => ({
  key: name,
  ctrlKey: held.includes("c"),
  shiftKey: held.includes("s"),
  altKey: held.includes("a"),
  metaKey: held.includes("m"),
});

const CASES = [
  // key, held, elsewhere, on a Mac
  ["a", "", "far", "far"],
  ["c", "c", "far", "far"],
  ["C", "cs", "copy", "far"],
  ["c", "m", "far", "copy"],
  ["v", "c", "paste", "far"],
  ["V", "cs", "paste", "far"],
  ["v", "m", "far", "paste"],
  ["v", "ca", "far", "far"],
  ["F6", "cs", "leave", "leave"],
  ["F6", "", "far", "far"],
  ["Escape", "", "far", "far"],
  ["Tab", "", "far", "far"],
  ["Enter", "s", "far", "far"],
];

for (const [name, held, elsewhere, mac] of CASES) {
  test(`${name} with ${held || "nothing"}`, () => {
    assert.equal(purpose(key(name, held), false), elsewhere);
    assert.equal(purpose(key(name, held), true), mac);
  });
}
