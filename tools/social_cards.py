"""Draw the picture that social networks show beside a link to a page: its title and its first figure.

    python tools/social_cards.py _build/html [TOC]

writes ``cards/NAME.jpg``, 1200 by 630 pixels, into the built book. The addresses are in book/_templates/layout.html.
"""

import html as markup
import sys
from pathlib import Path

from bs4 import BeautifulSoup
from chromium import ORIGIN, chromium, page_from
from PIL import Image
from whole_book import TOC, parts

CARD = """<!doctype html><meta charset="utf-8"><style>
  body {{ margin: 0; width: 1200px; height: 630px; display: flex; flex-direction: column; background: #fff;
         color: #15202b; font-family: system-ui, "DejaVu Sans", sans-serif; }}
  header {{ padding: 48px 64px 28px; }}
  header p {{ display: flex; gap: 16px; align-items: center; margin: 0 0 18px; font-size: 28px; color: #4a5560; }}
  header img {{ height: 44px; }}
  h1 {{ margin: 0; font-size: 54px; line-height: 1.15; font-weight: 600; }}
  main {{ flex: 1; min-height: 0; margin: 0 64px 48px; display: flex; }}
  main img {{ width: 100%; height: 100%; object-fit: contain; }}
  body.beside {{ flex-direction: row; align-items: center; }}
  body.beside header {{ width: 470px; padding-right: 0; }}
  body.beside h1 {{ font-size: 48px; }}
  body.beside main {{ height: 534px; margin-left: 40px; }}
</style><body class="{layout}"><header><p><img src="../_static/logo.svg" alt="">ConvTwist</p><h1>{title}</h1></header>
<main><img src="{picture}" alt=""></main>"""


def _card(page: Path, title: str | None) -> str:
    """Return the card of a built page, as HTML to be opened in its folder."""
    text = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select_one("article.bd-article")
    for link in text.select("a.headerlink"):
        link.decompose()
    figures = [image["src"] for image in text.select("figure img, div.cell_output img") if "_images/" in image["src"]]
    picture = figures[0] if figures else "../_static/journey.png"
    with Image.open(page.parent / picture) as opened:
        layout = "above" if opened.width > 2 * opened.height else "beside"  # the title: little of the card stays empty
    return CARD.format(title=markup.escape(title or text.h1.get_text()), picture=picture, layout=layout)


def write_cards(html: Path, toc: Path = TOC) -> list[Path]:
    """Draw the card of each page that ``toc`` lists, and return the files."""
    target = html / "cards"
    target.mkdir(exist_ok=True)
    pages = {name: title for _, chapters in parts(toc) for name, title in chapters}
    cards: dict[str, str] = {}
    with chromium() as browser:
        page = page_from(browser, html, {"book/card.html": lambda: cards["open"]},
                         viewport={"width": 1200, "height": 630})
        for name, title in pages.items():
            cards["open"] = _card(html / "book" / f"{name}.html", title)
            page.goto(ORIGIN + "book/card.html", wait_until="load")
            page.screenshot(path=target / f"{name}.jpg", type="jpeg", quality=85)
    return [target / f"{name}.jpg" for name in pages]


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    write_cards(*map(Path, sys.argv[1:]))
