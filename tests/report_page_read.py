"""A page of the report as a parser sees it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}
KNOWN = {
    "html", "head", "meta", "title", "style", "script", "body", "header", "main", "nav", "section", "article", "h1", "h2", "h3", "h4",
    "h5", "p", "strong", "span", "bdi", "code", "dl", "div", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "i",
    "b", "ul", "li", "details", "summary", "pre", "a", "figure", "figcaption", "form", "label", "input", "select", "option", "kbd",
    "mark", "sup", "small",
}  # fmt: skip


class Page(HTMLParser):
    """Elements in order, each with its attributes; the text; scripts, styles and charts; and whether every element closes in order."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.text = []
        self.scripts = []
        self.styles = ""
        self.charts = {}
        self._open = []
        self._raw = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        raw, self._raw = "".join(self._raw), []
        if tag == "script" and self.elements[-1][1].get("type") == "application/json":
            self.charts = json.loads(raw)
        elif tag == "script":
            self.scripts.append(raw)
        elif tag == "style":
            self.styles += raw

    def handle_data(self, data):
        raw = bool(self._open) and self._open[-1] in ("script", "style")
        (self._raw if raw else self.text).append(data)

    def all(self, tag, kind=None):
        return [found for name, found in self.elements if name == tag and (kind is None or kind in found.get("class", "").split())]


def without_scripts(text, *, data=False):
    """A page without its scripts, of which one is somebody else's; with `data` also without what charts show."""
    return re.sub(f"<script{'[^>]*' if data else ''}>.*?</script>", "", text, flags=re.DOTALL)
