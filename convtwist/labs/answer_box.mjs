// @ts-nocheck: answer_box.py puts STYLE and VERSION in front of it.
// A field that takes the answer of an exercise and says whether it is right. Book: the exercises of every chapter.
// It carries marks of the right answers, not the answers. tests/browser/test_answer_box.py compares it with Python.

/** A number for a text and a salt, 53 bits (cyrb53 by bryc, public domain); answer_box.py has the same. */
const answerMark = (text, salt) => {
  let a = 0xdeadbeef ^ salt;
  let b = 0x41c6ce57 ^ salt;
  for (const char of text) {
    a = Math.imul(a ^ char.charCodeAt(0), 2654435761);
    b = Math.imul(b ^ char.charCodeAt(0), 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return 4294967296 * (2097151 & b) + (a >>> 0);
};

/** What was typed, entry by entry: numbers (1/3 is one), or words in small letters; brackets and commas don't matter. */
const answerEntries = (typed) =>
  (typed.replace(/[\u2212\u2013]/g, "-").replace(/[[\](){};,\s]+/g, " ").trim().toLowerCase().match(/\S+/g) ?? []).map((word) => {
    const [top, bottom = "1", ...rest] = word.split("/").map((part) => (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/.test(part) ? Number(part) : NaN));
    const value = rest.length ? NaN : top / Number(bottom);
    return Number.isFinite(value) ? value : { yes: "true", no: "false" }[word] ?? word;
  });

const answerText = (value, places) => (typeof value === "number" ? String(Math.floor(value * 10 ** places + 0.5) + 0) : value);

/** One sentence about what was typed, and whether it is right. */
const answerVerdict = (typed, { marks, salt, places, words, whole, hint }) => {
  const entries = answerEntries(typed);
  if (!entries.length) return [false, "Type your answer first."];
  const stray = entries.findIndex((entry, k) => k < words.length && (typeof entry === "string") !== Boolean(words[k]));
  if (stray >= 0 && typeof entries[stray] === "string") return [false, `\u201c${entries[stray].slice(0, 20)}\u201d is not a number.`];
  if (stray >= 0) return [false, `Entry ${stray + 1} is a word.`];
  if (entries.length !== marks.length) {
    const comma = marks.length === 1 && /\d,\d/.test(typed) ? " Write a number without commas." : "";
    return [false, `${marks.length === 1 ? "One entry is" : `${marks.length} entries are`} asked for, you typed ${entries.length}.${comma}`];
  }
  const wrong = entries.flatMap((entry, k) => (answerMark(`${k}:${answerText(entry, places)}`, salt) === marks[k] ? [] : [k + 1]));
  if (!wrong.length) return [true, "Right."];
  const which = marks.length === 1 ? "Not yet." : `Not yet: ${marks.length - wrong.length} of ${marks.length} entries are right; look at entry ${wrong[0]}.`;
  return [false, `${which}${whole ? "" : ` Give ${places} decimals.`}${hint ? ` ${hint}` : ""}`];
};

for (const host of document.querySelectorAll(`.convtwist-answer[data-box="${VERSION}"]:not([data-ready])`)) {
  host.dataset.ready = "";
  const config = JSON.parse(host.dataset.config);
  const root = host.attachShadow({ mode: "open" });
  const add = (parent, name, attributes, text = "") => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return parent.appendChild(element);
  };
  add(root, "style", {}, STYLE);
  const form = add(root, "form", { novalidate: "", autocomplete: "off" });
  add(form, "label", { for: "typed" }, config.asks);
  // JupyterLab leaves a control its keys only if it says so; what lies in a shadow root is its host to JupyterLab.
  host.setAttribute("data-lm-suppress-shortcuts", "true");
  const own = { "data-lm-suppress-shortcuts": "true" };
  const typed = add(form, "input", { id: "typed", type: "text", spellcheck: "false", autocapitalize: "off", "aria-describedby": "said", ...own });
  add(form, "button", { type: "submit", ...own }, "Check");
  const said = add(form, "output", { id: "said", for: "typed" });
  const say = (right, text) => {
    said.textContent = text;
    said.className = text ? (right ? "right" : "wrong") : "";
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say(...answerVerdict(typed.value, config));
  });
  typed.addEventListener("input", () => say(false, ""));
  // Where the host page doesn't say which colours it wears, the reader's system does.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const wears = document.documentElement.matches("[data-theme], [theme]") || document.body.matches("[data-jp-theme-light], [data-vscode-theme-kind]");
  host.classList.toggle("ct-dark", dark.matches && !wears);
}
