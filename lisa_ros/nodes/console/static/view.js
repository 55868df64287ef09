// SPDX-License-Identifier: Apache-2.0
// The canvas: live images or an answer with its masks, and pointing into either by touch, mouse and keyboard.

import { COLOURS, bitmap, colourOf, paint, sameRuns } from "./masks.js";
import { t } from "./texts.js";

const WIDEST = 1920;
const DRAG_PIXELS = 6;
const MOST_FRAMES = 8; // answers whose images are kept, as the console does

export class View {
  // on: {object(exchange, number), point(u, v, stamp), box(x, y, width, height, stamp), mode()}.
  constructor(canvas, pointer, on) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.pointer = pointer;
    this.on = on;
    this.size = [640, 480];
    this.mode = "live";
    this.exchange = null;
    this.layers = [];
    this.bitmaps = new Map();
    this.live = null;
    this.liveImages = 0;
    this.cameras = 0; // changes of the camera
    this.crosshair = null;
    this.corner = null;
    this.dragged = null;
    this.boxing = false;
    this.stale = false; // the live image is an old one
    this.pointed = { points: [], boxes: [] };
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.drop());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.aim(null));
  }

  // Width in pixels that the screen needs.
  get width() {
    return Math.ceil(this.canvas.clientWidth * Math.min(devicePixelRatio || 1, 2)) || 320;
  }

  async showLive(blob, header) {
    const { cameras } = this;
    const image = await createImageBitmap(blob);
    if (cameras !== this.cameras) return image.close();
    this.live?.image.close();
    this.live = { image, stamp: header.stamp, size: header.size };
    this.liveImages += 1;
    if (this.mode === "live") this.draw();
  }

  // The camera is another one.
  dropLive() {
    this.cameras += 1;
    this.drop();
    this.live?.image.close();
    this.live = null;
  }

  async keepFrame(id, blob) {
    const image = await createImageBitmap(blob);
    this.bitmaps.get(id)?.close();
    this.bitmaps.set(id, image);
    const others = [...this.bitmaps.keys()].filter((one) => one !== id && one !== this.exchange?.id);
    this.free(others.slice(0, 1 - MOST_FRAMES));
    if (this.mode === "answer" && this.exchange?.id === id) this.draw();
  }

  // Frames of exchanges that are gone are freed.
  keepOnly(ids) {
    this.free([...this.bitmaps.keys()].filter((id) => !ids.has(id)));
  }

  free(ids) {
    for (const id of ids) {
      this.bitmaps.get(id).close();
      this.bitmaps.delete(id);
    }
  }

  showAnswer(exchange) {
    const same = exchange.id === this.exchange?.id;
    if (!same) this.drop();
    this.exchange = exchange;
    const size = exchange.size ?? this.size;
    const painted = same ? this.layers : []; // each part of an answer has the masks before it, too
    this.layers = exchange.objects.map((object, i) => {
      const isKnown = painted[i]?.size.join() === size.join() && sameRuns(painted[i].object.runs, object.runs);
      return isKnown ? { ...painted[i], object } : this.layer(object, size);
    });
    this.setMode("answer");
  }

  layer(object, size) {
    const pixels = bitmap(object.runs, ...size);
    return { object, size, pixels, ...paint(pixels, ...size, object.number) };
  }

  setMode(mode) {
    if (mode !== this.mode) this.drop(); // a part of the shown answer does not disturb a finger on it
    this.mode = mode;
    this.on.mode();
    this.draw();
  }

  setStale(stale) {
    if (stale === this.stale) return;
    this.stale = stale;
    this.draw();
  }

  setPointed(pointed) {
    this.pointed = pointed;
    this.draw();
  }

  draw() {
    const answer = this.mode === "answer" ? this.exchange : null;
    const image = answer ? this.bitmaps.get(answer.id) : this.live?.image;
    this.size = (answer ? answer.size : this.live?.size) ?? (image ? [image.width, image.height] : this.size);
    const scale = Math.min(1, WIDEST / this.size[0]);
    const [width, height] = this.size.map((side) => Math.max(1, Math.round(side * scale)));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
      this.canvas.style.setProperty("--ratio", String(width / height));
    }
    const context = this.context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#333";
    context.fillRect(0, 0, width, height);
    if (image) context.drawImage(image, 0, 0, width, height);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    if (answer) {
      for (const layer of this.layers) context.drawImage(layer.canvas, layer.left, layer.top);
      for (const layer of this.layers) this.label(layer.object);
    }
    this.drawPointed();
    this.describe(answer, image);
    // For tests and measurements: what was drawn last, and when (milliseconds since 1970).
    const masks = answer ? this.layers.length : 0;
    const now = performance.timeOrigin + performance.now();
    const drawn = { id: answer?.id ?? "", masks, image: Boolean(image), images: this.liveImages, at: now };
    this.canvas.dataset.drawn = JSON.stringify(drawn);
  }

  describe(answer, image) {
    const values = { text: answer?.text, count: this.layers.length };
    const live = image ? (this.stale ? "view_live_old" : "view_live") : "view_live_none";
    const text = t(answer ? (image ? "view_answer" : "view_answer_no_frame") : live, values);
    if (this.canvas.getAttribute("aria-label") !== text) this.canvas.setAttribute("aria-label", text);
    const caption = document.getElementById("view-caption");
    if (caption.textContent !== text) caption.textContent = text;
  }

  // Pixels of the image for one of a label: legible on a telephone, too.
  get unit() {
    return Math.max(1, this.size[0] / Math.min(400, this.canvas.clientWidth || 400));
  }

  label(object) {
    const [u, v] = object.centroid;
    const context = this.context;
    const size = 11 * this.unit;
    context.beginPath();
    context.arc(u, v, size * 0.8, 0, 2 * Math.PI);
    context.fillStyle = "#000";
    context.fill();
    context.lineWidth = this.unit;
    context.strokeStyle = `rgb(${COLOURS[colourOf(object.number)].join(",")})`;
    context.stroke();
    context.fillStyle = "#fff";
    context.font = `bold ${size}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(String(object.number), u, v);
  }

  drawPointed() {
    for (const [u, v] of this.pointed.points) this.cross(u, v, 6, true);
    for (const box of this.pointed.boxes) this.rectangle(...box);
    if (this.dragged) this.rectangle(...corners(this.dragged.from, this.dragged.to));
    if (this.corner && this.crosshair) this.rectangle(...corners(this.corner, this.crosshair));
    if (this.crosshair) this.cross(...this.crosshair, 10, false);
  }

  stroke(draw) {
    for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
      this.context.strokeStyle = colour;
      this.context.lineWidth = width * this.unit * 0.7;
      this.context.beginPath();
      draw(this.context);
      this.context.stroke();
    }
  }

  cross(u, v, size, ring) {
    const arm = size * this.unit;
    this.stroke((context) => {
      context.moveTo(u - arm, v);
      context.lineTo(u + arm, v);
      context.moveTo(u, v - arm);
      context.lineTo(u, v + arm);
      if (ring) context.arc(u, v, arm, 0, 2 * Math.PI);
    });
  }

  rectangle(x, y, width, height) {
    this.stroke((context) => context.rect(x, y, width, height));
  }

  get stamp() {
    return this.mode === "answer" ? this.exchange?.stamp : this.live?.stamp;
  }

  // The object of the shown answer at a pixel; null: none.
  objectAt(u, v) {
    if (this.mode !== "answer") return null;
    const at = Math.round(v) * this.size[0] + Math.round(u);
    return this.layers.findLast((layer) => layer.pixels[at])?.object ?? null;
  }

  tap(u, v) {
    const object = this.objectAt(u, v);
    if (object && this.exchange.turn) this.on.object(this.exchange, object.number);
    else this.on.point(Math.round(u), Math.round(v), this.stamp);
  }

  position(event) {
    const box = this.canvas.getBoundingClientRect();
    const u = ((event.clientX - box.left) / box.width) * this.size[0] - 0.5;
    const v = ((event.clientY - box.top) / box.height) * this.size[1] - 0.5;
    return this.inside(u, v);
  }

  inside(u, v) {
    return [Math.min(Math.max(u, 0), this.size[0] - 1), Math.min(Math.max(v, 0), this.size[1] - 1)];
  }

  down(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    const from = this.position(event);
    this.pressed = { from, at: [event.clientX, event.clientY], drags: this.boxing || event.pointerType === "mouse" };
    if (this.pressed.drags) this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.pressed?.drags || !event.isPrimary) return;
    const far = Math.hypot(event.clientX - this.pressed.at[0], event.clientY - this.pressed.at[1]);
    if (far > DRAG_PIXELS || this.dragged) {
      this.dragged = { from: this.pressed.from, to: this.position(event) };
      this.draw();
    }
  }

  up(event) {
    if (!event.isPrimary) return; // a second finger
    const { pressed, dragged } = this;
    this.drop();
    if (dragged) this.finishBox(dragged.from, dragged.to);
    else if (pressed) this.tap(...this.position(event));
    this.draw();
  }

  drop() {
    this.pressed = this.dragged = this.corner = null;
  }

  finishBox(from, to) {
    const [x, y, width, height] = corners(from.map(Math.round), to.map(Math.round));
    // Both corners are pixels of the box, so that one at the border has the last row and column in it.
    if (width >= 1 && height >= 1) this.on.box(x, y, width + 1, height + 1, this.stamp);
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(this.size[0] / 64));
    if (Object.hasOwn(moves, event.key)) {
      const [u, v] = this.crosshair ?? this.size.map((side) => Math.round(side / 2));
      const [right, down] = moves[event.key];
      this.aim(this.inside(u + step * right, v + step * down));
    } else if (event.key === "Enter" || event.key === " ") {
      if (this.crosshair) this.tap(...this.crosshair);
    } else if (event.key === "b" || event.key === "B") {
      if (this.corner && this.crosshair) this.finishBox(this.corner, this.crosshair);
      this.corner = this.corner ? null : this.crosshair;
      this.draw();
    } else {
      return;
    }
    event.preventDefault();
  }

  aim(position) {
    this.crosshair = position;
    if (!position) this.corner = null;
    this.draw();
    if (!position) return;
    const [u, v] = position;
    const object = this.objectAt(u, v);
    const key = object ? "crosshair_object" : "crosshair";
    this.pointer.textContent = t(key, { u, v, number: object?.number });
  }
}

function corners([a, b], [c, d]) {
  return [Math.min(a, c), Math.min(b, d), Math.abs(a - c), Math.abs(b - d)];
}
