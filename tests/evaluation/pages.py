"""A page of evaluation, as the tests look at it."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """What the tests look at: tables by id, headline numbers, months, links, labels, and the visible text."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.headlines, self.months = {}, {}, []
        self.attributes, self.open = [], []
        self.text = ""
        self._rows = self._row = None
        self.feed(html)
        assert not self.open, f"elements left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(attributes["id"], [])
        elif tag == "tr":
            self._row = []
            self._rows.append(self._row)
        elif tag in ("th", "td"):
            self._row.append("")
        elif tag == "data":
            self.months.append(float(attributes["value"]))
        elif tag == "dt":
            self._headline = ""
        elif tag == "dd":
            self.headlines[self._headline].append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            return
        self.text += data
        if self.open and self.open[-1] == "dt":
            self.headlines[data] = []
            self._headline = data
        elif "dd" in self.open:
            self.headlines[self._headline][-1] += data
        elif {"td", "th"} & set(self.open):
            self._row[-1] += data.strip()

    def table(self, name):
        return {row[0]: row[1] for row in self.tables[name] if len(row) > 1}
