"""How a lab becomes one piece of HTML: modules joined, style, settings, and words for readers without scripts.

Book: used by every chapter with a lab.
"""

import hashlib
import html
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

__all__ = ["Lab", "joined_modules"]

_HERE = Path(__file__).parent

# A notebook that is not trusted drops the style and the script, and <noscript> but not what stands in it.  Hence the
# style tells which of two sentences is read: with it the first, without it the second.  A trusted notebook that is open
# beside it has a style, too, which reaches only labs that have kept ``data-lab``.  (Jupyter drops an empty ``hidden``.)
_OFF = '<span class="ct-off" hidden="hidden">It needs JavaScript, which is off here.</span>'
_UNTRUSTED = ('<p class="ct-untrusted">Its script has not run. To use it in a notebook, trust the notebook '
              "(File &gt; Trust Notebook) or run this cell again.</p>")


class Lab:
    """A lab to be the last line of a cell: the page shows ``_repr_html_``, a terminal shows the name."""

    name: str

    def __init__(self, name: str, markup: str) -> None:
        self.name = name
        self._markup = markup

    def _repr_html_(self) -> str:
        return self._markup

    def __repr__(self) -> str:
        return f"<convtwist lab: {self.name}>"


def _without_unused(source: str) -> str:
    """Drop each top-level declaration whose name nothing mentions that is needed itself."""
    parts = re.split(r"^(?=\w)", source, flags=re.MULTILINE)
    names = [re.match(r"(?:async )?(?:function|const|let) (\w+)", part) for part in parts]
    declared = {name[1]: part for name, part in zip(names, parts, strict=True) if name}
    needed, queue = set(), [part for name, part in zip(names, parts, strict=True) if not name]
    while queue:
        found = declared.keys() & set(re.findall(r"(?<![-\w])\w+", queue.pop())) - needed
        needed |= found
        queue += [declared[name] for name in found]
    return "".join(part for name, part in zip(names, parts, strict=True) if not name or name[1] in needed)


@cache
def joined_modules(*names: str, pruned: bool = False) -> str:
    """Return the named ``.mjs`` files as one module: imports between them dropped, comments left in the source.

    The files share one scope afterwards, so a name may be defined in only one of them.  ``pruned`` leaves out
    what the last file never reaches, directly or by way of others.
    """
    source = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
    source = re.sub(r"^import\s*\{[^}]*\}\s*from\s*\"\./[^\"]+\";\n", "", source, flags=re.MULTILINE)
    source = re.sub(r"^export ", "", source, flags=re.MULTILINE)
    source = re.sub(r"^\s*/\*\*.*?\*/\n", "", source, flags=re.MULTILINE | re.DOTALL)
    source = re.sub(r"^\s*//.*\n", "", source, flags=re.MULTILINE)
    source = _without_unused(source) if pruned else source
    return re.sub(r"\n\s*", "\n", source).strip()


@cache
def _style(name: str) -> str:
    source = (_HERE / name).read_text(encoding="utf-8")
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", source).strip()


def build(name: str, modules: tuple[str, ...], *, says: str, config: Mapping[str, object],
          still: tuple[str, str] | None = None) -> Lab:
    """Build a lab.

    Args:
        name: what a reader calls it, such as ``"correlation stepper"``.
        modules: its ``.mjs`` files, each after those it imports from.
        says: what the lab would show, for readers whose page runs no scripts.
        config: its settings, as JSON types.
        still: a picture as ``(data URL, alternative text)``.
    """
    script, style = joined_modules(*modules, pruned=True), _style("host.css")
    # The look of the inside travels in the script, which puts it into the lab's shadow root.
    script = script.replace('"lab.css"', json.dumps(_style("lab.css"), ensure_ascii=False))
    slug = name.replace(" ", "-")
    # Two outputs stored by different releases can share a page: each script wakes only the labs of its own kind.
    version = hashlib.sha256((script + style).encode()).hexdigest()[:8]
    kind = f"{slug}@{version}"
    script = script.replace(f'mountAll("{slug}"', f'mountAll("{kind}"')
    settings = html.escape(json.dumps(config, separators=(",", ":"), sort_keys=True))
    image = f'<img src="{still[0]}" alt="{html.escape(still[1])}">' if still else ""
    return Lab(
        name,
        f'<div class="convtwist-lab" role="group" aria-label="Lab: {name}" data-lab="{kind}" '
        f'data-config="{settings}">{image}<noscript><p>{html.escape(says)} {_OFF}</p></noscript>{_UNTRUSTED}</div>\n'
        f'<style>\n{style}\n</style>\n<script type="module">\n{script}\n</script>',
    )
