// SPDX-License-Identifier: Apache-2.0
// The page: joins the connection, the view, the dialogue and the form.

import { Dialogue, boxText, fillObjects, pointText } from "./dialogue.js";
import { Link } from "./link.js";
import { Microphone } from "./microphone.js";
import { showAlarms, showLatency, showState } from "./state.js";
import { element, loadTexts, t } from "./texts.js";
import { Unsent } from "./unsent.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
const MAX_POINTS = 16;
const NO_DRAFT = { references: [], points: [], boxes: [], stamp: null };

let link, view, dialogue, microphone, unsent;
let welcomed = {}; // the last welcome
let speechIsThere = false; // the node `speech`
let operator = kept("operator") || "default";
let camera = new URLSearchParams(location.search).get("camera") ?? kept("camera") ?? "";
let draft = NO_DRAFT;
let listed; // the answer whose objects the table has
let follows = true; // the view changes to the answer that comes
const alarms = { link: "", note: "", node: "", camera: "" };

// Of this tab; a new tab begins with what was chosen last in any.
function kept(name) {
  return sessionStorage.getItem(name) ?? localStorage.getItem(name);
}

function keep(name, value) {
  sessionStorage.setItem(name, value);
  localStorage.setItem(name, value);
}

function hello() {
  microphone?.stop(false); // the console discards a recording at each hello
  link.send({ type: "hello", operator, camera });
  askFrame();
}

function askFrame() {
  link.send({ type: "frame", width: view.width });
}

function note(text) {
  alarms.note = text;
  showAlarms(alarms);
}

const form = {
  isEmpty: () => !$("text").value.trim() && !$("chips").childElementCount,
  has: (command) => $("text").value.trim() === command.text && draft === command.draft,
  fill: (command) => {
    $("text").value = command?.text ?? "";
    setDraft(command?.draft ?? NO_DRAFT);
  },
};

function confirmSent({ tag }) {
  if (tag && unsent.confirm(tag) && alarms.note === t("not_sent_doubtful")) note("");
}

// The answer on the view, and what was pointed at.
function forgetShown() {
  setDraft(NO_DRAFT);
  view.exchange = null;
  view.layers = [];
  view.setMode("live");
}

// Answers of another operator, answers and images of another camera.
function forget({ operator, camera }) {
  dialogue.replace([], operator);
  unsent.forget();
  view.keepOnly(new Set());
  if (camera !== welcomed.camera) view.dropLive();
  forgetShown();
}

const handlers = {
  welcome(message) {
    if (message.operator !== welcomed.operator || message.camera !== welcomed.camera) forget(message);
    welcomed = message;
    if (camera && camera !== message.camera) {
      note(t("camera_unknown", { asked: camera, camera: message.camera || t("camera_default") }));
    }
    operator = message.operator;
    camera = message.camera;
    keep("operator", operator);
    keep("camera", camera);
    // A name that is being typed stays.
    if (document.activeElement !== $("operator") || !$("operator").value) $("operator").value = operator;
    const options = message.cameras.map((name) => element("option", { value: name }, name || t("camera_default")));
    $("camera").replaceChildren(...options);
    $("camera").value = camera;
    $("camera-field").hidden = message.cameras.length < 2;
    if (document.hidden) link.send({ type: "view", visible: false });
  },
  operator_refused(message) {
    operator = welcomed.operator ?? "default"; // also for the next connection and the next camera
    note(t("operator_refused", message));
    if (!welcomed.operator) hello();
  },
  state(message) {
    showState(message, alarms);
    showAge();
    speechIsThere = message.speech;
    showTalk();
    $("send").disabled = false;
  },
  dialogue(message) {
    dialogue.replace(message.exchanges, message.operator);
    message.exchanges.forEach(confirmSent);
    if (unsent.settle()) note(t("not_sent_doubtful"));
    view.keepOnly(new Set(message.exchanges.map((one) => one.id)));
    $("undo").hidden = !message.can_undo_reset;
    if (message.reset) {
      note(t("reset_done"));
      forgetShown();
    } else if (alarms.note === t("reset_done")) {
      note(""); // the reset was taken back, perhaps on another page
    }
    showAgain();
    refresh();
  },
  masks_left_out({ objects }) {
    for (const [id, index] of objects) {
      const exchange = dialogue.exchanges.get(id);
      if (!exchange) continue;
      const without = (object, i) => (i === index ? { ...object, runs: [], mask_left_out: true } : object);
      dialogue.put({ ...exchange, objects: exchange.objects.map(without) });
    }
    showAgain();
    refresh();
  },
  exchange({ exchange }) {
    const before = dialogue.exchanges.get(exchange.id);
    dialogue.put(exchange);
    confirmSent(exchange);
    if (isAnswered(before, exchange)) sayAloud(exchange.spoken);
    if (exchange.turn) $("undo").hidden = true;
    if (exchange.objects.length && follows) view.showAnswer(exchange);
    else if (view.exchange?.id === exchange.id || !dialogue.exchanges.has(view.exchange?.id)) showAgain();
    refresh();
  },
  heard(message) {
    const key = message.final ? `heard_${message.meaning}` : "heard_so_far";
    $("heard").textContent = t(key, { ...message, detail: message.detail || message.text });
    if (message.final && message.meaning === "UNSURE") sayAloud(message.detail);
  },
  not_heard(message) {
    microphone.stop(false);
    note(t(`talk_${message.code}`));
  },
  not_sent(message) {
    unsent.refuse(message.tag);
    note(t(`not_sent_${message.code}`));
  },
  already_sent: confirmSent,
  failed(message) {
    note(t("reset_failed", message));
  },
  bad_message(message) {
    note(t("bad_message", message));
  },
};

// Whether the answer to a command of this operator's page has come. What the speech node heard may come after the answer
// to it: they are of two nodes.
function isAnswered(before, exchange) {
  return Boolean(before) && exchange.state === "done" && (before.state !== "done" || (!before.heard && Boolean(exchange.heard)));
}

// The shown answer as the dialogue has it now; the live camera where it is gone.
function showAgain() {
  if (view.mode !== "answer") return;
  const exchange = dialogue.exchanges.get(view.exchange.id);
  if (exchange) view.showAnswer(exchange);
  else view.setMode("live");
}

// The answer that the page shows in the view, or can show there.
function chosen() {
  return dialogue.exchanges.get(view.exchange?.id) ?? dialogue.newest;
}

function received(message) {
  handlers[message.type]?.(message);
}

function file(header, blob) {
  if (header.kind === "live") {
    view.showLive(blob, header).finally(askFrame);
  } else {
    const exchange = dialogue.exchanges.get(header.id);
    if (exchange && header.size) exchange.size ??= header.size;
    view.keepFrame(header.id, blob);
  }
}

function refresh() {
  $("cancel").disabled = !dialogue.pending.length;
  $("answer").disabled = !chosen();
  $("live").setAttribute("aria-pressed", String(view.mode === "live"));
  $("answer").setAttribute("aria-pressed", String(view.mode === "answer"));
  const exchange = view.mode === "answer" ? view.exchange : dialogue.newest;
  if (exchange !== listed) fillObjects($("objects"), exchange, () => refer(exchange.turn)); // else the focus in it stays
  listed = exchange;
  $("no-objects").hidden = Boolean(exchange?.objects.length);
  showLatency([...dialogue.exchanges.values()].findLast((one) => one.timing_ms.total));
}

// What is shown as live is old where the camera or the connection is lost.
function showAge() {
  view.setStale(Boolean(alarms.link) || ["lost", "absent", "silent"].includes(document.body.dataset.camera));
}

function setDraft(changed) {
  draft = changed;
  const chips = [
    ...draft.references.map((turn) => chip(t("chip_turn", { turn }), () => refer(turn))),
    ...draft.points.map((point) => chip(pointText(point), () => without("points", point))),
    ...draft.boxes.map((box) => chip(boxText(box), () => without("boxes", box))),
  ];
  $("chips").replaceChildren(...chips);
  view.setPointed(draft);
}

function chip(text, onclick) {
  const properties = { type: "button", class: "chip", "aria-label": t("chip_remove", { what: text }), onclick };
  return element("button", properties, `${text} ✕`);
}

function without(kind, one) {
  setDraft({ ...draft, [kind]: draft[kind].filter((other) => other !== one) });
  $("text").focus();
}

function refer(turn) {
  const known = draft.references.includes(turn);
  const references = known ? draft.references.filter((one) => one !== turn) : [...draft.references, turn];
  setDraft({ ...draft, references });
}

function send() {
  const text = $("text").value.trim();
  if (!text && !draft.points.length && !draft.boxes.length) return unsent.comeBack();
  const { tag } = unsent;
  if (!link.open || !link.send({ type: "command", text, ...draft, stamp: draft.stamp ?? [], tag })) {
    note(t("not_sent_link"));
    return;
  }
  unsent.add({ tag, text, draft });
  $("send").dataset.sentAt = performance.timeOrigin + performance.now();
  note("");
  form.fill(null);
  follows = true;
  view.setMode("live");
  unsent.comeBack();
}

function showTalk() {
  const help = !Microphone.possible ? t("talk_insecure") : speechIsThere ? t("talk_help") : t("talk_absent");
  if ($("talk-help").textContent !== help) $("talk-help").textContent = help;
  $("talk").disabled = !(Microphone.possible && speechIsThere);
  if ($("talk").disabled) microphone.stop(false); // nobody hears its release
}

function microphoneState(name) {
  $("talk").dataset.state = name;
  $("talk").setAttribute("aria-pressed", String(name === "speaking"));
  $("talk").textContent = t({ opening: "talk_opening", speaking: "talk_speaking" }[name] ?? "talk");
  if (["refused", "missing", "failed", "insecure"].includes(name)) note(t(`talk_${name}`));
  if (name !== "speaking") return;
  window.speechSynthesis?.cancel();
  note("");
}

function sayAloud(sentence) {
  if (!$("aloud").checked || !sentence || microphone.busy) return;
  const utterance = new SpeechSynthesisUtterance(sentence);
  utterance.lang = "en";
  speechSynthesis.speak(utterance);
}

function cancel() {
  for (const one of dialogue.pending) link.send({ type: "cancel", id: one.id });
}

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("theme", name);
}

function listen() {
  $("say").addEventListener("submit", (event) => (event.preventDefault(), send()));
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) (event.preventDefault(), send());
  });
  $("cancel").addEventListener("click", cancel);
  $("aloud").addEventListener("change", () => {
    localStorage.setItem("aloud", $("aloud").checked ? "yes" : "");
    if (!$("aloud").checked) speechSynthesis.cancel();
  });
  $("reset").addEventListener("click", () => link.send({ type: "reset" }));
  $("undo").addEventListener("click", () => (link.send({ type: "undo" }), $("text").focus()));
  $("who").addEventListener("submit", (event) => {
    event.preventDefault();
    operator = $("operator").value.trim() || "default";
    note("");
    hello();
  });
  $("camera").addEventListener("change", () => ((camera = $("camera").value), view.setMode("live"), hello()));
  $("theme").addEventListener("change", () => theme($("theme").value));
  $("live").addEventListener("click", () => ((follows = false), view.setMode("live")));
  $("answer").addEventListener("click", () => {
    if (chosen()) view.showAnswer(chosen());
  });
  $("box").addEventListener("click", () => {
    view.boxing = !view.boxing;
    $("box").setAttribute("aria-pressed", String(view.boxing));
    view.canvas.classList.toggle("boxing", view.boxing);
  });
  view.canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape") setDraft(NO_DRAFT);
  });
  document.addEventListener("visibilitychange", () => {
    link.send({ type: "view", visible: !document.hidden });
    if (!document.hidden) askFrame();
  });
}

async function begin() {
  // The token has become a cookie; it need not stay where a shoulder can read it.
  const query = new URLSearchParams(location.search);
  if (query.has("token")) {
    query.delete("token");
    history.replaceState(null, "", query.size ? `/?${query}` : "/");
  }
  await loadTexts();
  $("chips").setAttribute("aria-label", t("chips"));
  $("view").setAttribute("aria-describedby", "view-help");
  $("theme").value = localStorage.getItem("theme") || "";
  theme($("theme").value);
  view = new View($("view"), $("pointer"), {
    object: (exchange) => refer(exchange.turn),
    point: (u, v, stamp) => setDraft({ ...draft, points: [...draft.points, [u, v]].slice(-MAX_POINTS), stamp }),
    box: (x, y, width, height, stamp) => setDraft({ ...draft, boxes: [[x, y, width, height]], stamp }),
    mode: refresh,
  });
  dialogue = new Dialogue($("log"), {
    show: (id) => {
      follows = true;
      view.showAnswer(dialogue.exchanges.get(id));
      $("view").scrollIntoView({ block: "nearest" }); // on a telephone the image is above the dialogue
    },
    refer,
  });
  unsent = new Unsent(form);
  link = new Link({
    open: () => {
      unsent.lose();
      hello();
    },
    json: received,
    file,
    state: (name, seconds) => {
      const keys = { slow: "alarm_link_slow", lost: "alarm_link", full: "alarm_full", locked: "alarm_locked" };
      if (name !== "open" && name !== "slow") microphone?.stop(false); // the console discards the recording
      alarms.link = keys[name] ? t(keys[name], { age: seconds.toFixed(0) }) : "";
      showAlarms(alarms);
      showAge();
    },
  });
  microphone = new Microphone($("talk"), {
    begin: (rate) => link.send({ type: "talk", rate }),
    block: (samples) => link.sendSound(samples),
    end: (said) => link.send({ type: "talk", said }),
    state: microphoneState,
  });
  $("aloud").disabled = !("speechSynthesis" in window);
  $("aloud").checked = !$("aloud").disabled && localStorage.getItem("aloud") === "yes";
  showTalk();
  listen();
  view.draw();
  $("text").focus({ preventScroll: true });
}

begin();
