"""The pages as a whole: no link is dead, every page can be reached, and every decision is in the index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
PACKAGES = ("detco_core", "control", "server", "worker", "detco_client", "examples", "benchmarks", "scripts")
LINK = re.compile(r"\]\(([^()\s]+)\)")


def prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of its headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", LINK.sub("]", heading)).lower().replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[Path, str]]:
    """Every file of ours that it links to, and the anchor in it."""
    targets = [target.partition("#") for target in LINK.findall(prose(page)) if not re.match(r"\w+:", target)]
    return [((page.parent / file).resolve() if file else page, anchor) for file, _, anchor in targets]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    for file, anchor in links(page):
        assert file.exists(), f"{file} is not there"
        assert not anchor or anchor in anchors(file), f"{file} has no heading #{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        ahead += [file for file, _ in links(page) if file.suffix == ".md" and file not in reached]
    assert set(PAGES) <= reached


def test_every_page_and_decision_that_code_names_is_there() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    named = {path for file in files for path in re.findall(r"(?<![\w/])docs/[\w/-]+(?:\.md)?", file.read_text("utf-8"))}
    assert named
    assert [path for path in sorted(named) if not list(ROOT.glob(f"{path}*"))] == []


def test_every_module_that_a_page_names_is_there() -> None:
    """By its path in the repository, in a package or in the tests."""
    named = {path for page in PAGES for path in re.findall(r"`([\w-]+(?:/[\w-]+)+\.py)`", page.read_text("utf-8"))}
    assert named
    folders = [ROOT, *(ROOT / package for package in (*PACKAGES, "tests"))]
    assert [path for path in sorted(named) if not any((folder / path).exists() for folder in folders)] == []


def test_every_decision_is_in_the_index_with_what_changed_it_later() -> None:
    lines = [line for line in (DECISIONS / "README.md").read_text("utf-8").splitlines() if line.startswith("- ")]
    assert sorted(lines) == sorted(line_of(decision) for decision in DECISIONS.glob("[0-9]*.md"))


def line_of(decision: Path) -> str:
    """Its line in the index: number, title, and the later decisions that the mark under its title names."""
    number, (heading, _, mark, *_) = decision.name[:3], decision.read_text("utf-8").splitlines()
    later = re.findall(r"\[(\d+)\]", mark) if mark.startswith("*Later: ") else []
    title = heading.removeprefix(f"# {number} ")
    return f"- [{number}]({decision.name}) {title}" + (f"; later {', '.join(later)}" if later else "")
