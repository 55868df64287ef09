// SPDX-License-Identifier: Apache-2.0
// The page's texts. Nothing here or elsewhere makes HTML of a text: texts become text nodes and attributes.

const AGAIN_MS = 1000;

let texts = {};

export async function loadTexts() {
  while (!texts.lang) {
    try {
      texts = await (await fetch("/texts", { credentials: "same-origin" })).json();
    } catch {
      await new Promise((ready) => setTimeout(ready, AGAIN_MS)); // the connection was lost
    }
  }
  Object.assign(document.documentElement, { lang: texts.lang, dir: texts.dir });
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
}

const RIGHT_TO_LEFT = /[\u0590-\u08ff\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

// A value with letters that are read from the right keeps its own direction, and does not turn the text around it.
function isolated(value) {
  return RIGHT_TO_LEFT.test(value) ? `\u2068${value}\u2069` : value;
}

// The text of a key with {names} filled in.
export function t(key, values = {}) {
  const text = Object.hasOwn(texts, key) ? texts[key] : key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? isolated(String(values[name])) : whole));
}

// An element with attributes, listeners (onclick: f) and children; strings become text nodes.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}
