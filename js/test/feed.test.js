import assert from "node:assert/strict";
import { test } from "node:test";
import { ACK_EVERY, Feed, MOST_WAITING } from "../feed.js";

const bytes = (text) => new TextEncoder().encode(text);
const NONE = new Uint8Array();

// A view whose screen shows at once, or when it is told to.
function view(atOnce = true) {
  const seen = { text: "", asked: [], acked: [], pending: [], clears: 0 };
  const feed = new Feed({
    write: (data, done) => {
      const show = () => {
        seen.text += new TextDecoder().decode(data);
        done();
      };
      atOnce ? show() : seen.pending.push(show);
    },
    clear: () => {
      seen.clears++;
      seen.text = "";
    },
    ask: (from) => seen.asked.push(from),
    ack: (at) => seen.acked.push(at),
  });
  feed.hello();
  return { feed, seen };
}

test("what comes before the replay is not shown twice, or out of order", () => {
  const { feed, seen } = view();
  assert.deepEqual(seen.asked, [null]);
  feed.output(0, bytes("abc"));
  feed.replay(0, bytes("<"), bytes("abcdef"), true);
  feed.output(3, bytes("def"));
  feed.output(4, bytes("efg"));
  feed.output(7, bytes("h"));
  assert.equal(seen.text, "<abcdefgh");
  assert.deepEqual(seen.acked, [6]); // a replay at once, the rest in large steps
});

test("a gap is asked for, and what comes meanwhile waits for the answer", () => {
  const { feed, seen } = view();
  feed.replay(0, NONE, NONE, true);
  feed.output(0, bytes("ab"));
  feed.output(4, bytes("ef"));
  feed.output(6, bytes("gh"));
  assert.deepEqual(seen.asked, [null, 2]);
  feed.replay(2, NONE, bytes("cdefgh"), false);
  feed.output(8, bytes("i"));
  assert.equal(seen.text, "abcdefghi");
  assert.equal(seen.clears, 1);
});

test("an answer that comes too late changes nothing", () => {
  const { feed, seen } = view();
  feed.replay(0, NONE, bytes("ab"), true);
  feed.hello();
  feed.replay(2, NONE, bytes("c"), false);
  feed.replay(2, NONE, bytes("c"), false);
  assert.equal(seen.text, "abc");
});

test("acknowledged is what is shown, not what has come", () => {
  const { feed, seen } = view(false);
  feed.replay(0, NONE, NONE, true);
  feed.output(0, new Uint8Array(ACK_EVERY));
  assert.deepEqual(seen.acked, []);
  for (const show of seen.pending.splice(0)) show();
  assert.deepEqual(seen.acked, [ACK_EVERY]);
});

test("a view that is far behind lets go, and asks when it has caught up", () => {
  const { feed, seen } = view(false);
  feed.replay(0, NONE, NONE, true);
  const piece = new Uint8Array(MOST_WAITING / 4);
  for (let at = 0; at < 8 * piece.length; at += piece.length) feed.output(at, piece);
  assert.ok(feed.position <= MOST_WAITING + piece.length);
  const had = feed.position;
  while (seen.pending.length) seen.pending.shift()();
  assert.deepEqual(seen.asked, [null, had]);
  feed.replay(8 * piece.length - 10, NONE, new Uint8Array(10), true);
  while (seen.pending.length) seen.pending.shift()();
  assert.equal(seen.clears, 2);
  assert.equal(feed.shown, 8 * piece.length);
});

test("questions in a replay were answered long ago, those in what was missed were not", () => {
  const { feed, seen } = view(false);
  feed.replay(0, NONE, bytes("\x1b[c"), true);
  assert.equal(feed.replays, 1);
  while (seen.pending.length) seen.pending.shift()();
  assert.equal(feed.replays, 0);
  feed.hello();
  feed.replay(3, NONE, bytes("\x1b[c"), false);
  assert.equal(feed.replays, 0);
});
