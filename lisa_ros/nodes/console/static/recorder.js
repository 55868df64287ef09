// SPDX-License-Identifier: Apache-2.0
// Runs on the browser's audio thread: samples as 16-bit numbers, in blocks of 50 ms.

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ended = false;
    this.begin();
    this.port.onmessage = () => {
      this.ended = true;
      this.flush();
      this.port.postMessage(null);
    };
  }

  begin() {
    this.block = new Int16Array(Math.round(sampleRate / 20));
    this.count = 0;
  }

  flush() {
    const samples = this.block.slice(0, this.count);
    if (samples.length) this.port.postMessage(samples.buffer, [samples.buffer]);
    this.begin();
  }

  process([channels]) {
    for (const value of this.ended || !channels.length ? [] : channels[0]) {
      this.block[this.count++] = Math.round(Math.max(-1, Math.min(1, value)) * 32767);
      if (this.count === this.block.length) this.flush();
    }
    return !this.ended;
  }
}

registerProcessor("recorder", Recorder);
