// What the search puts first. Sphinx adds this to its search script (html_search_scorer in _config.yml).
//
// Its own scores favour the glossary and the list of functions, where every word occurs, and break ties by the
// alphabet. Here a chapter comes first whose title holds all that was asked for; then a section whose heading does, the
// earliest first; then a function whose name was typed as code; then the other chapters with the words in them, the
// earliest first, since it introduces them. Within a chapter, reading.js goes to the section.

// Words at home in a chapter whose title says it otherwise, or where an earlier chapter mentions them in passing.
const HOMES = {
  convolution: "01", relu: "04", rotation: "08", convert: "13",
  // A heading is offered only if half of it was typed.
  "same padding": "03", "max pooling": "04", "average pooling": "04",
};

const stems = text => {
  const stemmer = new Stemmer();
  return text.toLowerCase().split(/[^\p{L}\p{N}_]+/u).filter(Boolean).map(word => stemmer.stemWord(word));
};

var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  score: ([page, title, anchor, description, score]) => {
    const query = (new URLSearchParams(location.search).get("q") ?? "").trim();
    const chapter = page.match(/(?:^|\/)(\d\d)_[^/]*$/)?.[1];
    if (chapter) {
      const [whole, section = ""] = title.split(" > ");
      const known = new Set(stems(whole));
      const home = HOMES[query.toLowerCase()];
      const titled = home ? home === chapter : stems(query).every(word => known.has(word));
      const heading = new Set(stems(section));
      const headed = section && stems(query).every(word => heading.has(word));
      return (titled ? 4000 : headed ? 3500 : 2000) - 10 * chapter + (headed ? 1 : 0);
    }
    const code = /[_.]|[a-z][A-Z0-9]/.test(query);
    if (code && description && title.split(".").pop() === query.split(".").pop()) return 3000;
    return score;
  },
};
