// SPDX-License-Identifier: Apache-2.0
// The state of camera, node, model and queue in plain text, and the alarms above the page.

import { element, t } from "./texts.js";

const KNOWN = new Set(["active", "absent", "lost", "configuring", "connecting"]);

function set(id, text) {
  const shown = document.getElementById(id);
  if (shown.textContent !== text) shown.textContent = text;
}

export function showState({ node, camera }, alarms) {
  const age = camera.age_s === null ? "" : Math.round(camera.age_s);
  const sees = t(`camera_${camera.state}`, { topic: camera.topic, age });
  set("state-camera", camera.trouble ? t("camera_trouble", camera) : sees);
  set("state-node", KNOWN.has(node.state) ? t(`node_${node.state}`) : t("node_other", node));
  set("state-model", node.state === "active" && node.model ? node.model : t("model_none"));
  const waiting = node.waiting;
  set("state-queue", waiting === null ? t("queue_unknown") : waiting ? t("queue_some", { count: waiting }) : t("queue_none"));
  const gone = ["absent", "lost", "connecting"].includes(node.state);
  alarms.node = gone ? t("alarm_node") : node.state === "active" ? "" : t("node_other", node);
  const unseen = ["lost", "absent", "silent"].includes(camera.state);
  alarms.camera = unseen ? t("alarm_camera") : camera.trouble ? t("alarm_camera_trouble", camera) : "";
  document.body.dataset.node = node.state;
  document.body.dataset.camera = camera.state;
  showAlarms(alarms);
}

export function showAlarms(alarms) {
  const texts = Object.values(alarms).filter(Boolean);
  const shown = document.getElementById("alarm");
  if (shown.dataset.texts === texts.join("\n")) return; // a screen reader would read it again
  shown.dataset.texts = texts.join("\n");
  shown.replaceChildren(...texts.map((text) => element("p", {}, text)));
}

// exchange: with the answer; undefined: there is none.
export function showLatency(exchange) {
  const times = exchange?.timing_ms ?? {};
  if (!times.total) return set("state-latency", t("latency_none"));
  const whole = (name) => (times[name] === undefined ? "–" : Math.round(times[name]));
  const values = { total: whole("total"), first: whole("first_mask"), queued: whole("queued"), round: whole("round_trip") };
  set("state-latency", t("latency", values));
}
