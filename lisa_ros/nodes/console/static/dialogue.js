// SPDX-License-Identifier: Apache-2.0
// The list of commands and answers, and the table of an answer's objects.

import { COLOURS, colourOf } from "./masks.js";
import { element, t } from "./texts.js";

const MOST = 50; // commands that are kept, as the console does

export class Dialogue {
  // on: {show(exchange), refer(turn)}.
  constructor(log, on) {
    this.log = log;
    this.list = log.querySelector("ol");
    this.on = on;
    this.exchanges = new Map();
    this.items = new Map();
    this.operator = "";
  }

  replace(exchanges, operator) {
    this.operator = operator;
    this.exchanges = new Map(exchanges.map((one) => [one.id, one]));
    this.items = new Map(exchanges.map((one) => [one.id, this.item(one)]));
    // A screen reader must not read the whole dialogue again.
    this.log.setAttribute("aria-busy", "true");
    this.list.replaceChildren(...this.items.values());
    this.log.setAttribute("aria-busy", "false");
    this.scroll(true);
  }

  put(exchange) {
    const low = this.isLow();
    const item = this.item(exchange);
    const old = this.items.get(exchange.id);
    this.exchanges.set(exchange.id, exchange);
    this.items.set(exchange.id, item);
    if (old) this.exchange(old, item);
    else this.list.append(item);
    for (const id of [...this.items.keys()].slice(0, -MOST)) {
      this.items.get(id).remove();
      this.items.delete(id);
      this.exchanges.delete(id);
    }
    this.scroll(low || !old);
  }

  // In place, so that the keyboard's focus and what a screen reader has read stay.
  exchange(old, item) {
    const focused = old.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    const [before, after] = [old.querySelector(".answer"), item.querySelector(".answer")];
    if (before.textContent === after.textContent) return this.update(old, item);
    old.replaceWith(item);
    if (focused !== null) item.querySelector(`[data-action="${CSS.escape(focused)}"]`)?.focus();
  }

  // All but the answer's text and the buttons that are there.
  update(old, item) {
    this.items.set(item.dataset.id, old);
    Object.assign(old.dataset, item.dataset);
    const [before, after] = [old, item].map((one) => one.querySelectorAll(".about"));
    before.forEach((part, i) => part.textContent !== after[i].textContent && part.replaceWith(after[i]));
    const tools = old.querySelector(".tools");
    for (const button of [...tools.children]) {
      if (!item.querySelector(`[data-action="${button.dataset.action}"]`)) button.remove();
    }
    for (const button of item.querySelectorAll("[data-action]")) {
      if (!tools.querySelector(`[data-action="${button.dataset.action}"]`)) tools.append(button);
    }
  }

  get pending() {
    return [...this.exchanges.values()].filter((one) => one.state === "sent" || one.state === "answering");
  }

  get newest() {
    return [...this.exchanges.values()].filter((one) => one.state === "done" && one.objects.length).at(-1) ?? null;
  }

  isLow() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
  }

  scroll(low) {
    if (low) this.log.scrollTop = this.log.scrollHeight;
  }

  item(one) {
    const actions = [];
    const answer = answerText(one);
    if (one.objects.length) actions.push(this.button("show", one, () => this.on.show(one.id)));
    if (one.turn) actions.push(this.button("refer", one, () => this.on.refer(one.turn)));
    return element(
      "li",
      { "data-id": one.id, "data-state": one.state, "data-status": one.status },
      element("p", { class: "asked" }, element("b", { dir: "auto" }, this.operator), " ", said(one.text)),
      element("p", { class: "about" }, aboutCommand(one)),
      element("p", { class: answer ? "answer" : "answer no-answer" }, element("b", {}, t("robot")), " ", said(answer)),
      element("p", { class: "about" }, ...aboutAnswer(one)),
      element("div", { class: "tools" }, ...actions),
    );
  }

  button(action, one, onclick) {
    const label = action === "show" ? t("show_label", { text: one.text }) : t("refer_turn_label", { turn: one.turn });
    return element("button", { type: "button", "data-action": action, "aria-label": label, onclick }, t(action));
  }
}

// Text of a person or a model: its direction is its own, whatever stands beside it.
function said(text) {
  return element("span", { dir: "auto" }, text);
}

function aboutCommand(one) {
  const parts = [];
  if (one.turn) parts.push(t("turn", { turn: one.turn }));
  if (one.heard) parts.push(t("heard_as", { heard: one.heard }));
  if (one.references.length) parts.push(t("refers_to", { turns: one.references.join(", ") }));
  const pointed = [...(one.pointing.points ?? []).map(pointText), ...(one.pointing.boxes ?? []).map(boxText)];
  if (pointed.length) parts.push(t("points_at", { what: pointed.join(", ") }));
  return parts.join(" · ");
}

export function pointText([u, v]) {
  return t("chip_point", { u: Math.round(u), v: Math.round(v) });
}

export function boxText([x, y, width, height]) {
  return t("chip_box", { x: Math.round(x), y: Math.round(y), width: Math.round(width), height: Math.round(height) });
}

function answerText(one) {
  if (one.state === "lost") return t(`lost_${one.detail}`);
  if (one.answer) return one.answer;
  if (one.state === "sent") return t("waiting");
  if (one.state === "answering") return t("working");
  return one.status === "OK" ? t("no_text") : "";
}

function aboutAnswer(one) {
  const status = one.state === "done" ? t(`status_${one.status}`) : "";
  const parts = [status ? element("strong", {}, status) : null, one.detail && one.state === "done" ? said(one.detail) : null];
  if (one.late) parts.push(t("late"));
  const count = one.objects.filter((object) => object.mask_left_out).length;
  if (count) parts.push(t("masks_left_out", { count }));
  return parts.filter(Boolean).flatMap((part, i) => (i ? [" ", part] : [part]));
}

function withoutMask(object) {
  return object.mask_left_out ? ` ${t("mask_left_out")}` : "";
}

function scoreOf(object) {
  if (object.score === null) return t("no_score");
  return object.score_calibrated ? object.score.toFixed(2) : t("score_not_calibrated", { value: object.score.toFixed(2) });
}

export function fillObjects(body, exchange, refer) {
  const rows = (exchange?.objects ?? []).map((object) => {
    const colour = colourOf(object.number);
    const swatch = element("span", { class: "swatch", "data-colour": colour, "aria-hidden": "true" });
    swatch.style.backgroundColor = `rgb(${COLOURS[colour].join(",")})`;
    const distance =
      object.distance_m === null
        ? `${t("no_distance")}${object.no_distance ? `: ${object.no_distance}` : ""}`
        : t("metres", { value: object.distance_m.toFixed(2) });
    const label = t("refer_label", { number: object.number, turn: exchange.turn });
    const button = element("button", { type: "button", "aria-label": label, onclick: refer }, t("refer"));
    button.disabled = !exchange.turn;
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, swatch, ` ${object.number} (${t(`colour_${colour}`)})`),
      element("td", { "data-column": t("column_name") }, said(object.name || t("unnamed")), withoutMask(object)),
      element("td", { "data-column": t("column_score") }, scoreOf(object)),
      element("td", { "data-column": t("column_pixel") }, object.centroid.map(Math.round).join(", ")),
      element("td", { "data-column": t("column_distance") }, distance),
      element("td", {}, button),
    );
  });
  body.replaceChildren(...rows);
}
