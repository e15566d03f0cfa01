"""Cut the theme's icon fonts down to the icons that the book's pages can show.

The theme ships all of Font Awesome twice, as a script (542 KB gzipped) and as fonts (180 KB). Its style
sheet draws every icon from the fonts alone, so ``book/_templates`` leaves the script out, and the subsets
written here replace the fonts: Sphinx copies ``book/_assets`` after the theme's files, and the last one wins.

Run it after an upgrade of the theme, or when a page uses an icon that ``tests/browser`` reports as missing
(needs ``fonttools`` and ``brotli``):  python tools/subset_icons.py
"""
import re
from pathlib import Path

import pydata_sphinx_theme
import sphinx_book_theme
from fontTools import subset

ASSETS = Path(__file__).parents[1] / "book" / "_assets"
THEMES = [Path(pydata_sphinx_theme.__file__).parent, Path(sphinx_book_theme.__file__).parent]
STATIC = THEMES[0] / "theme" / "pydata_sphinx_theme" / "static"


def code_points() -> set[int]:
    """Return the code point of each icon that a template, a header button or a style sheet names."""
    css = (STATIC / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    names = set()
    for theme in THEMES:
        for path in [*theme.rglob("*.html"), *theme.rglob("*.py")]:
            names.update(re.findall(r"\bfa-([a-z-]+)", path.read_text(encoding="utf-8")))
    points = {ord(char) for char in re.findall(r'--pst-icon-[a-z-]+:"(.)"', css)}
    for selectors, point in re.findall(r'([^{}]*):before\{content:"\\(f[0-9a-f]{3})"\}', css):
        if names & set(re.findall(r"\.fa-([a-z-]+)", selectors)):
            points.add(int(point, 16))
    book_css = next(THEMES[1].rglob("sphinx-book-theme.css")).read_text(encoding="utf-8")
    points.update(int(point, 16) for point in re.findall(r'content:"\\(f[0-9a-f]{3})"', book_css))
    return points


def main() -> None:
    """Write the subset fonts."""
    points = code_points()
    fonts = ASSETS / "vendor" / "fontawesome" / "webfonts"
    fonts.mkdir(parents=True, exist_ok=True)
    for name in ("fa-solid-900", "fa-regular-400", "fa-brands-400"):
        options = subset.Options(flavor="woff2", layout_features=[], recalc_timestamp=False)
        source = STATIC / "vendor" / "fontawesome" / "webfonts" / f"{name}.ttf"
        font = subset.load_font(source, options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=points)
        subsetter.subset(font)
        target = fonts / f"{name}.woff2"
        subset.save_font(font, target, options)
        print(f"{target.name}: {len(font.getBestCmap())} icons, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
