// SPDX-License-Identifier: Apache-2.0
// The WebSocket to the console: connects again by itself, and notices within 2 s when nothing comes any more.

const SILENT_MS = 1700;
const AGAIN_MS = [200, 500, 1000, 2000];
const UNANSWERED_MS = 10000;

export class Link {
  // on: {open(), json(message), file(header, blob), state(name, seconds)}; names: "open", "slow", "lost", "full", "locked".
  constructor(on) {
    this.on = on;
    this.attempts = 0;
    this.receivedAt = performance.now();
    this.name = "";
    this.connect();
    setInterval(() => this.checkSilence(), 200);
  }

  connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/page`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.parts = [];
    this.receivedAt = performance.now();
    socket.onopen = () => {
      this.receivedAt = performance.now();
      this.on.open();
    };
    socket.onmessage = (event) => {
      this.attempts = 0; // only now: a console with too many pages opens the connection, too
      this.receivedAt = performance.now();
      this.setState("open");
      if (typeof event.data === "string") this.on.json(JSON.parse(event.data));
      else this.unpack(event.data);
    };
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      if (event.code === 1013) this.setState("full");
      else if (this.name !== "locked") this.setState("lost");
      if (this.attempts) this.checkAccess();
      setTimeout(() => this.connect(), AGAIN_MS[Math.min(this.attempts++, AGAIN_MS.length - 1)]);
    };
  }

  // A WebSocket does not say why it was refused. A console that was started again may have another token.
  async checkAccess() {
    const options = { cache: "no-store", signal: AbortSignal.timeout(2000) };
    const answer = await fetch("/texts", options).catch(() => null);
    if (["lost", "locked"].includes(this.name)) this.setState(answer?.status === 401 ? "locked" : "lost");
  }

  get open() {
    return this.socket.readyState === WebSocket.OPEN && this.name === "open";
  }

  send(message) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  sendSound(samples) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(samples);
  }

  // A file comes in parts; the first byte of each says whether more follow.
  unpack(data) {
    this.parts.push(new Uint8Array(data, 1));
    if (new Uint8Array(data)[0]) return;
    const parts = this.parts.splice(0);
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
    const length = new DataView(whole.buffer).getUint32(0);
    const text = (from, to) => JSON.parse(new TextDecoder().decode(whole.subarray(from, to)));
    const header = text(4, 4 + length);
    if (header.kind === "message") this.on.json(text(4 + length));
    else this.on.file(header, new Blob([whole.subarray(4 + length)], { type: "image/jpeg" }));
  }

  checkSilence() {
    const silent = performance.now() - this.receivedAt;
    if (this.socket.readyState === WebSocket.CONNECTING && silent > UNANSWERED_MS) this.socket.close();
    if (this.socket.readyState === WebSocket.OPEN && silent > SILENT_MS) {
      this.setState("slow", silent / 1000);
      // A connection that has died without a word is made anew.
      if (silent > 6000) this.renew();
    }
  }

  renew() {
    const dead = this.socket;
    dead.onclose = dead.onmessage = null;
    dead.close();
    this.setState("lost");
    this.connect();
  }

  setState(name, seconds = 0) {
    if (name === this.name && name !== "slow") return;
    this.name = name;
    this.on.state(name, seconds);
  }
}
