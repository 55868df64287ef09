// SPDX-License-Identifier: Apache-2.0
// The button that is held while speaking. The microphone is open only meanwhile.

const TAP_MS = 400;
const FLUSHED_MS = 500;

export class Microphone {
  // on: {begin(rate), block(buffer), end(said), state(name)}; names: "idle", "opening", "speaking", "insecure",
  // "refused", "missing", "failed".
  constructor(button, on) {
    this.button = button;
    this.on = on;
    this.parts = null;
    this.pressed = null; // when the button went down, not when a slow browser got to it
    this.ended = Promise.resolve(); // once the recording before has been sent
    this.wanted = 0; // changes with each press and release: a microphone that opens late is closed again
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.down(event);
    });
    button.addEventListener("pointerup", (event) => this.up(event));
    button.addEventListener("pointercancel", () => this.stop(false));
    button.addEventListener("keydown", (event) => this.key(event));
    button.addEventListener("keyup", (event) => {
      if (event.key === " " || event.key === "Enter") this.up(event);
    });
    button.addEventListener("blur", () => this.stop(true));
    document.addEventListener("visibilitychange", () => document.hidden && this.stop(false));
  }

  static get possible() {
    return Boolean(navigator.mediaDevices?.getUserMedia) && "AudioWorkletNode" in window;
  }

  get busy() {
    return this.wanted % 2 === 1;
  }

  key(event) {
    if (event.key === "Escape") this.stop(false);
    else if (event.key === " " || event.key === "Enter") {
      event.preventDefault();
      if (!event.repeat) this.down(event);
    }
  }

  down(event) {
    this.pressed = this.busy ? null : event.timeStamp;
    if (this.busy) this.stop(true);
    else this.start();
  }

  // A short press stays pressed until the next one: not everybody can hold a button.
  up(event) {
    if (this.pressed !== null && event.timeStamp - this.pressed > TAP_MS) this.stop(true);
    this.pressed = null;
  }

  async start() {
    if (!Microphone.possible) return this.on.state("insecure");
    const mine = ++this.wanted;
    this.on.state("opening");
    let parts = null;
    try {
      parts = await open();
    } catch (error) {
      const names = { NotAllowedError: "refused", NotFoundError: "missing" };
      if (mine === this.wanted) this.wanted++;
      return this.on.state(names[error.name] ?? "failed");
    }
    await this.ended;
    if (mine !== this.wanted) return close(parts);
    this.parts = parts;
    this.on.begin(parts.context.sampleRate);
    parts.recorder.port.onmessage = ({ data }) => (data ? this.on.block(data) : parts.flushed());
    parts.stream.getAudioTracks()[0].addEventListener("ended", () => this.parts === parts && this.stop(true));
    this.on.state("speaking");
  }

  // said: what was recorded is a command; else it is thrown away.
  stop(said) {
    if (!this.busy) return;
    this.wanted++;
    const { parts } = this;
    this.parts = null;
    this.on.state("idle");
    if (parts) this.ended = this.finish(parts, said);
  }

  async finish(parts, said) {
    const flushed = new Promise((resolve) => {
      parts.flushed = resolve;
      setTimeout(resolve, FLUSHED_MS);
    });
    parts.recorder.port.postMessage(null);
    await flushed;
    close(parts);
    this.on.end(said);
  }
}

async function open() {
  // A recogniser understands the sound as it is better than what browsers make of it for calls.
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule("/static/recorder.js");
    const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0, channelCount: 1 });
    context.createMediaStreamSource(stream).connect(recorder);
    await context.resume();
    return { stream, context, recorder, flushed: () => {} };
  } catch (error) {
    close({ stream, context });
    throw error;
  }
}

function close({ stream, context }) {
  for (const track of stream.getTracks()) track.stop();
  context.close();
}
