"""An answer box: a field under an exercise that says whether what is typed into it is right.

Book: the exercises whose answer is a number, a word, or a short list of these.
"""

import hashlib
import html
import json
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from torch import Tensor

from convtwist.labs.page import Lab, joined_modules

__all__ = ["answer_box"]

Answer: TypeAlias = float | str | np.ndarray | np.generic | Tensor | Sequence["Answer"]

_HERE = Path(__file__).parent
_COLOURS = """
.convtwist-answer { --ct-answer-ink: #1c2229; --ct-answer-card: #fcfcfb; --ct-answer-field: #ffffff;
  --ct-answer-line: #d5d9df; --ct-answer-edge: #7b8592; --ct-answer-accent: #0b6157; --ct-answer-on-accent: #ffffff;
  --ct-answer-fault: #a3151f; color-scheme: light; }
:is(html[data-theme="dark"], html[theme="dark"], body[data-jp-theme-light="false"],
  body[data-vscode-theme-kind*="dark"]) .convtwist-answer, .convtwist-answer.ct-dark { --ct-answer-ink: #e7eaee;
  --ct-answer-card: #171b20; --ct-answer-field: #0f1216; --ct-answer-line: #363d46; --ct-answer-edge: #808b98;
  --ct-answer-accent: #6fd3c3; --ct-answer-on-accent: #06201c; --ct-answer-fault: #ff9a94; color-scheme: dark; }
""".strip()


def answer_box(expected: Answer, *, asks: str = "Your answer", hint: str = "", places: int = 3) -> Lab:
    """Return a field for the page that takes the answer of an exercise and says whether it is right.

    Args:
        expected: a number, a truth value, a word without blanks, or a list, array or tensor of at most 24 of these,
            read row by row. The page holds marks (hashes) of them only.
        asks: the field's label, such as ``"Six numbers"``.
        hint: a sentence that is added where an answer is wrong.
        places: to how many decimals numbers are compared. Where not all of them are whole, the reader is asked for as
            many.

    A reader may type ``1 -2.5 1/3`` with blanks, commas or brackets, and ``yes`` for true. ``73,856`` and ``0,5`` are
    one number each where blanks alone give as many entries as are asked for. A half sign is a number, any dash is a
    minus, and quotes are left out.

    Raises:
        ValueError: ``expected`` holds nothing, too much, or something that can't be typed; a number that has more than
            15 digits with ``places`` decimals.
    """
    entries = _entries(expected)
    if not 1 <= len(entries) <= 24:
        raise ValueError(f"expected must hold 1 to 24 entries, got {len(entries)}")
    texts = [_text(entry, places) for entry in entries]
    numbers = [entry for entry in entries if not isinstance(entry, str)]
    salt = int.from_bytes(hashlib.sha256(json.dumps([asks, texts]).encode()).digest()[:4], "big")
    config = {
        "asks": asks, "hint": hint, "salt": salt, "places": places, "words": [isinstance(e, str) for e in entries],
        "whole": all(float(number).is_integer() for number in numbers),
        "marks": [mark(f"{k}:{text}", salt) for k, text in enumerate(texts)],
    }
    settings = html.escape(json.dumps(config, separators=(",", ":"), sort_keys=True))
    script = _script()
    version = hashlib.sha256(script.encode()).hexdigest()[:8]  # each stored output wakes the boxes of its own release
    return Lab("answer box", f'<div class="convtwist-answer" data-box="{version}" data-config="{settings}"><noscript>'
               "<p>The answer box needs JavaScript. In a notebook, trust the notebook (File &gt; Trust Notebook) "
               f"or run this cell again.</p></noscript></div>\n<style>\n{_COLOURS}\n</style>\n"
               f'<script type="module">\nconst VERSION = "{version}";\n{script}\n</script>')


def mark(text: str, salt: int) -> int:
    """Return the mark of a text, 53 bits (cyrb53 by bryc, public domain), as ``answer_box.mjs`` does."""
    def times(x: int, y: int) -> int:
        return x * y & 0xFFFFFFFF

    a, b = 0xDEADBEEF ^ salt, 0x41C6CE57 ^ salt
    for char in text:
        a, b = times(a ^ ord(char), 2654435761), times(b ^ ord(char), 1597334677)
    a = times(a ^ a >> 16, 2246822507) ^ times(b ^ b >> 13, 3266489909)
    b = times(b ^ b >> 16, 2246822507) ^ times(a ^ a >> 13, 3266489909)
    return 4294967296 * (2097151 & b) + a


def _entries(expected: Answer) -> list[float | str]:
    if isinstance(expected, Tensor):
        expected = expected.detach().cpu().tolist()
    if isinstance(expected, (np.ndarray, np.generic)):
        expected = expected.tolist()
    if isinstance(expected, (list, tuple)):
        return [entry for part in expected for entry in _entries(part)]
    if isinstance(expected, bool):
        return [str(expected).lower()]
    if isinstance(expected, str):
        word = {"yes": "true", "no": "false"}.get(expected.lower(), expected.lower())
        if not re.fullmatch(r"[a-z_]([\w.-]*\w)?", word, re.ASCII):
            raise ValueError(f"expected must be a number or one plain word, got {expected!r}")
        return [word]
    if not isinstance(expected, (int, float)) or not math.isfinite(expected):
        raise ValueError(f"expected must be a number or one plain word, got {expected!r}")
    return [expected]


def _text(entry: float | str, places: int) -> str:
    """Write a number as a whole number of its last decimals, so that Python and JavaScript write the same."""
    if isinstance(entry, str):
        return entry
    scaled = math.floor(float(entry) * 10**places + 0.5)
    if abs(scaled) >= 10**15:
        raise ValueError(f"expected is too large to be compared to {places} decimals: {entry}")
    return str(scaled)


@cache
def _script() -> str:
    style = re.sub(r"/\*.*?\*/", "", (_HERE / "answer_box.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    style = re.sub(r"\s+", " ", style).strip()
    return f"const STYLE = {json.dumps(style)};\n{joined_modules('answer_box.mjs')}"
