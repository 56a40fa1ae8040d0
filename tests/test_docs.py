"""The form of the documentation: short lines, short paragraphs, a README and a method page that can be read at once."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
ITEM = re.compile(r"\s*(?:[-*]|\d+\.) ")


def paragraphs(text: str) -> Iterator[list[str]]:
    """Paragraphs and list items as lists of lines; tables, code, headings, quotes and HTML are left out."""
    block: list[str] = []
    for line in [*re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines(), ""]:
        if block and (ITEM.match(line) or re.match(r"\s*$|[#|>]|<!--", line)):
            yield block
            block = []
        if not re.match(r"\s*$|[#|>]|<!--", line):
            block.append(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_and_paragraphs_are_short(page):
    for block in paragraphs(page.read_text()):
        assert all(len(line) <= 120 for line in block), block
        assert len(block) <= (3 if ITEM.match(block[0]) else 5), block


def test_readme_and_method_are_short():
    readme, method = ((ROOT / name).read_text().splitlines() for name in ("README.md", "docs/method.md"))
    assert len(readme) <= 150 and max(map(len, readme)) <= 300
    assert len(method) <= 200


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            targets = re.findall(r"\]\(([^)#\s:]+\.md)", page.read_text())
            waiting += [(page.parent / target).resolve() for target in targets]
    assert {page.resolve() for page in PAGES} <= reached
