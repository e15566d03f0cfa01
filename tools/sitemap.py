"""List the built pages for search engines.

    python tools/sitemap.py _build/html https://OWNER.HOST/NAME/

writes ``sitemap.xml`` into the built book. The search page and the redirect at the root are left out.
"""

import sys
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape


def sitemap(html: Path, site: str) -> str:
    """Return the sitemap of the pages below ``html/book``, at the address ``site``, with a slash at the end."""
    pages = sorted(path.relative_to(html).as_posix() for path in (html / "book").rglob("*.html"))
    places = "".join(f"  <url><loc>{escape(site + quote(page))}</loc></url>\n" for page in pages)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{places}</urlset>\n'
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    (folder / "sitemap.xml").write_text(sitemap(folder, sys.argv[2]), encoding="utf-8")
