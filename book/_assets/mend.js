/* Mends to the built pages that neither a style sheet nor a template can make. */

// Search fetches each page it found for a line of summary; a browser refuses that where pages are plain files.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  // docutils marks a bibliography as a list without list items; plain text is what screen readers read well.
  for (const list of document.querySelectorAll(".citation-list[role=list]")) list.removeAttribute("role");
  for (const entry of document.querySelectorAll("[role=doc-biblioentry]")) entry.removeAttribute("role");

  // The arrow beside a page that has pages below it says nothing to a screen reader.
  for (const arrow of document.querySelectorAll(".bd-links summary")) arrow.setAttribute("aria-label", "Pages below");
});

// The theme puts what scrolls into the tab order when the window changes; what is unfolded has changed, too.
document.addEventListener("toggle", () => dispatchEvent(new Event("resize")), true);

// A formula in running text cannot be broken into lines: where it is wider than its paragraph, let it scroll.
function foldWideFormulas() {
  for (const formula of document.querySelectorAll("mjx-container:not([display])")) {
    formula.classList.remove("wide");
    formula.classList.toggle("wide", formula.getBoundingClientRect().width > formula.parentElement.clientWidth + 1);
  }
}
addEventListener("load", () => window.MathJax?.startup?.promise?.then(foldWideFormulas));
addEventListener("resize", foldWideFormulas);
