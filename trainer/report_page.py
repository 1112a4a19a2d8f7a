"""Building blocks of the trainer's pages: each page is one file with its style, tables and notes."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from mdss.whole_files import write_whole

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1150px; padding: 0 1rem; color: #1d2530; background: #fff }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem } p.note { color: #5a6675; max-width: 75ch }
table { border-collapse: collapse; margin: .6rem 0 } th, td { padding: .25rem .8rem; border-bottom: 1px solid #d8dee6; text-align: right }
th:first-child, td:first-child { text-align: left } img { max-width: 100%; display: block }
.pictures { display: flex; gap: .6rem; margin: .3rem 0 } .pictures img { width: 100% }
.pictures figure { margin: 0; flex: 1 1 0; font-size: .8rem } .pictures figcaption { margin: 0 }
"""


def write_page(path: Path, heading: str, body: Iterable[str], style: str = "") -> Path:
    """Write one self-contained page, whole or not at all, and return its path."""
    head = f'<meta charset="utf-8"><title>{html.escape(heading)}</title><style>{STYLE}{style}</style>'
    page = "\n".join(["<!doctype html>", f'<html lang="en"><head>{head}</head><body>', *body, "</body></html>\n"])
    write_whole(path, page.encode())
    return path


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; numbers have three decimals, None is a dash."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    lines = ["<tr>" + "".join(f"<td>{html.escape(cell(value))}</td>" for value in row) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def cell(value: object) -> str:
    """Return a table's text for a value."""
    return f"{value:.3f}" if isinstance(value, float) else "-" if value is None else str(value)


def image(png: bytes, text: str) -> str:
    """Return an <img> with its bytes inside; `text` is its description."""
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'


def note(sentence: str) -> str:
    """Return a paragraph of explanation."""
    return f'<p class="note">{html.escape(sentence)}</p>'
