"""Marks the pages of the Chinese site that exist in English alone. A hook of mkdocs."""

from __future__ import annotations

from typing import Any

NOTE = """!!! note "本页只有英文版"
    尚无中文翻译。
"""


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Return a page's text, below a note if it is not in the language of the site."""
    if config.theme["language"] == "zh" and page.file.locale != "zh":
        heading, _, text = markdown.partition("\n")
        return f"{heading}\n\n{NOTE}\n{text}"
    return markdown
