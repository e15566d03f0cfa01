/* Reading aids: figures open large, terms and sources say what they are, a search result opens at its section.

   The page is complete without this script. Nothing is fetched: what links show is in previews.js. */

const asked = (new URLSearchParams(location.search).get("highlight") ?? "").toLowerCase(); // before Sphinx removes it

document.addEventListener("DOMContentLoaded", () => {
  for (const image of document.querySelectorAll("article div.cell_output img, article figure img")) {
    if (!image.closest(".convtwist-lab, a")) offerLarge(image);
  }
  for (const link of document.querySelectorAll("article a[href*='#']")) {
    const [page, anchor] = link.getAttribute("href").split("#");
    const preview = window.bookPreviews?.[`${(page || location.pathname).split("/").pop()}#${anchor}`];
    if (preview) offerPreview(link, preview);
  }
  const results = document.getElementById("search-results");
  if (results) markResults(results);
  else if (asked) {
    // Sphinx marks the words, but not where its search is loaded, which the theme does on every page.
    localStorage.removeItem("sphinx_highlight_terms");
    SphinxHighlight.highlightSearchWords();
    if (!location.hash) openAt(asked.split(/\s+/).filter(Boolean));
  }
});

// ---- Figures

/** Make a picture a button that opens it as large as the window allows, or at its own size if that is larger. */
function offerLarge(image) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.title = "Open large";
  image.replaceWith(button);
  button.append(image);
  button.addEventListener("click", () => {
    const dialog = document.createElement("dialog");
    const close = document.createElement("button");
    const frame = document.createElement("div");
    const large = new Image();
    dialog.className = "large-figure";
    dialog.setAttribute("aria-label", "Figure, large");
    close.type = "button";
    close.textContent = "Close";
    frame.tabIndex = 0; // the keyboard scrolls it
    frame.setAttribute("role", "group");
    frame.setAttribute("aria-label", "The figure; scrolls where it is larger than the window");
    large.src = image.src;
    large.alt = image.alt;
    const shape = image.naturalWidth / image.naturalHeight;
    large.style.width = `${Math.max(image.naturalWidth, Math.min(innerWidth * 0.94, innerHeight * 0.84 * shape))}px`;
    frame.append(large);
    const caption = image.closest("figure")?.querySelector("figcaption p")?.cloneNode(true);
    caption?.querySelector(".headerlink")?.remove();
    dialog.append(close, frame, ...(caption ? [caption] : []));
    const shut = () => dialog.close();
    close.addEventListener("click", shut);
    dialog.addEventListener("click", event => event.target === dialog && shut());
    dialog.addEventListener("close", () => { dialog.remove(); button.focus({ preventScroll: true }); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// ---- Previews

let shown = null;
let waiting;

function hidePreview() {
  clearTimeout(waiting);
  shown?.link.removeAttribute("aria-describedby");
  shown?.box.remove();
  shown = null;
}

function soon(action, milliseconds) {
  clearTimeout(waiting);
  waiting = setTimeout(action, milliseconds);
}

/** Say what a link leads to while the pointer is on it or on what is said, or the keyboard on the link. */
function offerPreview(link, html) {
  const show = () => {
    hidePreview();
    const box = document.createElement("div");
    box.className = "preview";
    box.id = "preview";
    box.setAttribute("role", "tooltip");
    box.innerHTML = html;
    for (const inner of box.querySelectorAll("a")) inner.replaceWith(...inner.childNodes);
    box.addEventListener("pointerenter", () => clearTimeout(waiting));
    box.addEventListener("pointerleave", () => soon(hidePreview, 250));
    document.body.append(box);
    shown = { link, box };
    link.setAttribute("aria-describedby", box.id);
    place();
    window.MathJax?.typesetPromise?.([box]).then(place);
  };
  const place = () => {
    const here = link.getClientRects()[0];
    if (shown?.link !== link || !here) return;
    const { box } = shown;
    const left = Math.max(8, Math.min(here.left, document.documentElement.clientWidth - box.offsetWidth - 8));
    const above = here.bottom + box.offsetHeight + 12 > innerHeight && here.top > box.offsetHeight + 12;
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${(above ? here.top - box.offsetHeight - 4 : here.bottom + 4) + scrollY}px`;
  };
  link.addEventListener("pointerenter", event => event.pointerType === "mouse" && soon(show, 250));
  link.addEventListener("pointerleave", () => soon(hidePreview, 250));
  link.addEventListener("focus", () => link.matches(":focus-visible") && show());
  link.addEventListener("blur", hidePreview);
}

document.addEventListener("keydown", event => { if (event.key === "Escape") hidePreview(); });

// ---- Search

/** Let each result carry what was looked for, so that it is marked on the page, in a new tab, too. */
function markResults(results) {
  const query = new URLSearchParams(location.search).get("q") ?? "";
  new MutationObserver(() => {
    for (const link of results.querySelectorAll("li > a:not([data-marked])")) {
      const [page, anchor] = link.getAttribute("href").split("#");
      link.dataset.marked = "";
      link.setAttribute("href", `${page}?highlight=${encodeURIComponent(query)}${anchor ? `#${anchor}` : ""}`);
    }
    for (const node of results.querySelectorAll("li p"))
      for (const text of node.childNodes)
        if (text.nodeType === Node.TEXT_NODE && text.data.includes("\\")) text.data = withoutTex(text.data);
  }).observe(results, { childList: true, subtree: true });
}

const SIGNS = { partial: "∂", Delta: "Δ", nabla: "∇", omega: "ω", theta: "θ", alpha: "α", sigma: "σ", pi: "π", cdot: "·",
  times: "×", le: "≤", ge: "≥", ne: "≠", approx: "≈", sum: "Σ", sqrt: "√", pm: "±", to: "→", infty: "∞" };

/** Write the formulas of a summary as plain text; Sphinx takes them from the page as they were typed. */
function withoutTex(text) {
  return text.replace(/\\[()[\]]/g, "").replace(/\\[a-z]+/gi, name => SIGNS[name.slice(1)] ?? " ")
    .replace(/\\[,;:! ]?/g, " ").replace(/[{}]/g, "").replace(/ {2,}/g, " ");
}

/** Go to the section that is most about some words: its heading has them, or its text has most of them, first. */
function openAt(words) {
  const phrase = words.join(" ");
  const stemmer = new Stemmer(); // the search finds "grid" for "gridding", and so does this
  const has = (text, word) => (text.includes(word) ? 1 : text.includes(stemmer.stemWord(word)) ? 0.6 : 0);
  let best = null, most = 0;
  for (const section of document.querySelectorAll("article section[id], article dl > dt[id]")) {
    const own = section.cloneNode(true);
    for (const inner of own.querySelectorAll("section, script, style, .headerlink")) inner.remove();
    const heading = own.querySelector("h1, h2, h3, h4");
    const title = (section.tagName === "DT" ? own : heading)?.textContent.toLowerCase() ?? "";
    const text = own.textContent.toLowerCase().replace(/\s+/g, " ");
    const count = words.reduce((sum, word) => sum + has(text, word), 0);
    const whole = heading?.tagName === "H1"; // the title is at the top; a section with the words is nearer to them
    const points = count + (text.includes(phrase) ? 10 : 0)
      + (!whole && title.includes(phrase) ? 100 : 0) + (!whole && words.every(word => has(title, word)) ? 50 : 0);
    if (count && points > most) [best, most] = [section, points];
  }
  if (!best) return;
  history.replaceState({}, "", `#${best.id}`);
  const go = () => {
    const marks = [...best.querySelectorAll(".highlighted")].filter(mark => mark.checkVisibility());
    const far = marks.length && marks[0].getBoundingClientRect().top - best.getBoundingClientRect().top > innerHeight * 0.7;
    if (far) marks[0].scrollIntoView({ block: "center" });
    else best.scrollIntoView();
  };
  setTimeout(go, 50); // Sphinx marks the words after 10 ms
  addEventListener("load", () => window.MathJax?.startup?.promise?.then(go));
}
