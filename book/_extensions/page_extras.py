"""What the built pages get that neither MyST-NB nor the theme gives: sizes of pictures, and what terms and sources say.

Pictures get their width and height, so that nothing moves while a page loads. The glossary's and the bibliography's
entries go into ``_static/previews.js``, from which ``reading.js`` shows them beside a link. Both work from a plain
folder of files. (sphinx-tippy does the second, too, but with two scripts from elsewhere and files with random names.)
"""

import json
import re
from pathlib import Path

from bs4 import BeautifulSoup
from PIL import Image

import convtwist

PICTURE = re.compile(r'<img (?![^>]*\bwidth=)[^>]*?src="[^"]*\b_images/([^"/]+)"[^>]*?(?=\s*/?>)')
ENTRIES = {  # page -> what is shown for an anchor on it
    "notation": lambda page: {term["id"]: term.find_next_sibling("dd") for term in page.select("dl.glossary dt[id]")},
    "bibliography": lambda page: {entry["id"]: entry for entry in page.select("div.citation[id]")},
}


def add_sizes(app, pagename, templatename, context, doctree):
    """Write width and height into each picture of a page that has none."""
    if "body" not in context:
        return
    sources = {target: Path(app.srcdir, source) for source, target in app.builder.images.items()}

    def sized(match):
        with Image.open(sources[match[1]]) as picture:
            return f'{match[0]} width="{picture.width}" height="{picture.height}"'

    context["body"] = PICTURE.sub(sized, context["body"])


def write_previews(app, exception):
    """Write what the links to terms and sources show, as a script that sets ``bookPreviews``."""
    if exception or app.builder.format != "html":
        return
    previews = {}
    for name, entries in ENTRIES.items():
        path = Path(app.outdir, "book", f"{name}.html")
        if not path.is_file():
            continue
        for anchor, entry in entries(BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")).items():
            for part in entry.select(".label, .headerlink, .backrefs"):
                part.decompose()
            previews[f"{name}.html#{anchor}"] = entry.decode_contents().strip()
    text = json.dumps(previews, ensure_ascii=False, indent=0)
    Path(app.outdir, "_static", "previews.js").write_text(f"var bookPreviews = {text};\n", encoding="utf-8")


def setup(app):
    """Connect both to Sphinx, and say which version of the package the book is about."""
    app.connect("config-inited", lambda app, config: setattr(config, "version", convtwist.__version__))
    app.connect("html-page-context", add_sizes)
    app.connect("build-finished", write_previews)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
