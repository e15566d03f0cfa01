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

/** A number as people type it: -1.5, 1/3, ½, 1½, 73,856 or, with a decimal comma, 0,5. Anything else is NaN. */
const answerNumber = (word) => {
  const [, sign, ones, vulgar] = /^([-+]?)(\d*)([\u00bc-\u00be\u2150-\u215e])$/.exec(word) ?? [];
  if (vulgar) return Number(`${sign}1`) * (Number(ones) + answerNumber(vulgar.normalize("NFKC")));
  const [top, bottom = 1, ...rest] = word.split(/[/\u2044\u2215]/).map((part) => {
    const plain = /^[-+]?[1-9]\d{0,2}([,_]\d{3})+(\.\d+)?$/.test(part) ? part.replace(/[,_]/g, "") : part.replace(",", ".");
    return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/.test(plain) ? Number(plain) : NaN;
  });
  return rest.length || !Number.isFinite(top / bottom) ? NaN : top / bottom;
};

/** What was typed, as pairs: the entry, and its number or word. Brackets, quotes and the kind of dash don't matter. */
const answerEntries = (typed, count) => {
  const spaced = typed.replace(/["'`\u00ab\u00b4\u00bb\u2018-\u201f\u2039\u203a]/g, "").replace(/[\u2010-\u2015\u2212\uff0d]/g, "-")
    .replace(/(\d)\s*([/\u2044\u2215])\s*(?=\d)/g, "$1$2").replace(/(^|[[({,;])\s*-\s+(?=[\d.\u00bc-\u00be\u2150-\u215e])/g, "$1-")
    .split(/[[\](){};\s]+/).map((part) => part.replace(/^,+|,+$/g, "")).filter(Boolean);
  // A comma inside is part of a number only if blanks alone give as many entries as are asked for.
  const inside = spaced.length === count && spaced.every((part) => !part.includes(",") || !Number.isNaN(answerNumber(part.toLowerCase())));
  return (inside ? spaced : spaced.flatMap((part) => part.split(/,+/))).map((part) => {
    const number = answerNumber(part.toLowerCase());
    const word = part.toLowerCase().replace(/[.:!?]+$/, "");
    return [part, Number.isNaN(number) ? (word === "yes" ? "true" : word === "no" ? "false" : word) : number];
  });
};

const answerText = (value, places) => (typeof value === "number" ? String(Math.floor(value * 10 ** places + 0.5) + 0) : value);

/** One sentence about what was typed, and whether it is right. */
const answerVerdict = (typed, { marks, salt, places, words, whole, hint }) => {
  const entries = answerEntries(typed, marks.length);
  if (!entries.length) return [false, "Type your answer first."];
  const several = marks.length > 1;
  const quoted = (k) => `\u201c${entries[k][0].slice(0, 20)}\u201d`;
  const stray = entries.findIndex(([, value], k) => k < words.length && (typeof value === "string") !== words[k]);
  if (stray >= 0 && words[stray]) return [false, `${several ? `Entry ${stray + 1}, ${quoted(stray)},` : quoted(stray)} should be a word.`];
  if (stray >= 0 && entries[stray][0] === "-") return [false, "Write a minus and its number without a blank."];
  if (stray >= 0) return [false, `${quoted(stray)} is not a number.`];
  if (entries.length !== marks.length) {
    const blanks = several && entries.length > marks.length && /\d,\d/.test(typed) ? " Put blanks between them." : "";
    return [false, `${several ? `${marks.length} entries are` : "One entry is"} asked for, you typed ${entries.length}.${blanks}`];
  }
  const wrong = entries.flatMap(([, value], k) => (answerMark(`${k}:${answerText(value, places)}`, salt) === marks[k] ? [] : [k]));
  if (!wrong.length) return [true, "Right."];
  const [part, value] = entries[wrong[0]];
  return [false, [
    several ? `Not yet: ${marks.length - wrong.length} of ${marks.length} entries are right; look at entry ${wrong[0] + 1}.` : "Not yet.",
    part.includes(",") && `${quoted(wrong[0])} was read as ${value}.`,
    typeof value === "number" && !whole && `Give ${places} decimal${places === 1 ? "" : "s"}.`,
    hint,
  ].filter(Boolean).join(" ")];
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
  // So it is to the built page, which would take "/" for its search.
  host.addEventListener("keydown", (event) => event.key === "Escape" || event.ctrlKey || event.metaKey || event.stopPropagation());
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
