// The page's side of the stream: what a view has, what it lacks, and what it has shown.
//
// Knows positions. Never knows xterm or widgets. Its counterpart in the kernel is feed.py.

// Bytes shown before they are acknowledged. A quarter of what the kernel lets wait, so that whatever
// is not acknowledged never holds the far end up.
export const ACK_EVERY = 16 * 1024;

// Bytes received and not shown from which a view that is slower than others lets go; it asks for
// them again when it has caught up.
export const MOST_WAITING = 1024 * 1024;

export class Feed {
  // write(data, done): show bytes, and call done when they are shown.
  // clear(): forget all that was shown.
  // ask(position): say hello to the kernel; null: everything is needed.
  // ack(position): all before it was shown.
  constructor({ write, clear, ask, ack }) {
    Object.assign(this, { write, clear, ask, ack });
    this.position = null; // behind the last byte that came
    this.shown = 0;
    this.acked = 0;
    this.waiting = true; // for a replay
    this.behind = false;
    this.replays = 0; // that are being shown, whose questions were answered long ago
  }

  hello() {
    this.waiting = true;
    this.ask(this.position);
  }

  output(at, data) {
    if (this.waiting || this.behind || at + data.length <= this.position) return;
    if (at > this.position) {
      this.hello(); // something is missing: the server drops messages when a cell prints too much
      return;
    }
    this.#take(data.subarray(this.position - at), null);
    if (this.position - this.shown > MOST_WAITING) this.behind = true;
  }

  replay(at, before, data, clear) {
    if (!clear && at !== this.position) return; // answers a question that is settled
    this.waiting = false;
    if (clear) {
      this.clear();
      this.position = this.shown = at;
      if (before.length) this.write(before, () => {});
    }
    this.replays += clear;
    this.#take(data, () => {
      this.replays -= clear;
      this.#acknowledge(0);
    });
  }

  #take(data, done) {
    this.position += data.length;
    const shown = this.position;
    this.write(data, () => {
      this.shown = shown;
      if (done) done();
      else this.#acknowledge(ACK_EVERY);
      if (this.behind && this.shown === this.position) {
        this.behind = false;
        this.hello();
      }
    });
  }

  #acknowledge(from) {
    if (this.shown - this.acked < from || this.shown === this.acked) return;
    this.acked = this.shown;
    this.ack(this.shown);
  }
}
