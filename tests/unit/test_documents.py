"""The documents of the repository: their links and paths lead somewhere, and README.md stays short."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ms_moe_comm", "op_impl", "ops_yaml", "samples", "tests")
DOCUMENTS = ["README.md", "ms_moe_comm/CHANGELOG.md", "ms_moe_comm/ERRORS.md", "op_impl/README.md",
             "ops_yaml/README.md", "samples/README.md", "tests/README.md", "tests/stand_in_cann/README.md"]
SOURCES = (".cc", ".cpp", ".h", ".md", ".pml", ".py", ".sh", ".txt", ".yaml")
NAMES = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*")}
FOREIGN = {"set_env.sh"}  # CANN's
README_LINES = 120
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.replace("/", "-"))


def text_of(document):
    return (ROOT / document).read_text(encoding="utf-8")


def anchors_of(document):
    """The names by which links reach the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_of(document):
    """Everything that a document marks as code: in backquotes and in blocks."""
    text = text_of(document)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", text) + re.findall(r"^    (\S.*)$", text, re.MULTILINE) + blocks


def paths_in(code):
    """The words that look like paths of the repository; patterns and placeholders do not."""
    words = re.findall(r"[^\s(),;:=\"']+", code)
    paths = [word.strip(".") for word in words if not re.search(r"[*<>{}$\[\]`|]|\.\.", word)]
    return [path for path in paths
            if (path.split("/")[0] in FOLDERS and "/" in path) or (path.endswith(SOURCES) and not path.startswith("/"))]


def is_there(path, document):
    """Whether a path exists below the root or the document's folder, or a bare name is the name of some file."""
    return (ROOT / path).exists() or ((ROOT / document).parent / path).exists() or path in NAMES | FOREIGN


def test_every_document_is_checked_here():
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")] + list(ROOT.glob("*.md"))
    assert sorted(str(path.relative_to(ROOT)) for path in found) == sorted(DOCUMENTS)


@each_document
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors_of(file.relative_to(ROOT)), target


@each_document
def test_paths_exist(document):
    missing = {path for code in code_of(document) for path in paths_in(code) if not is_there(path, document)}
    assert not missing


@each_document
def test_scripts_are_called_as_they_may_be(document):
    """`bash FILE` names a file of the repository, relative to its root."""
    for code in code_of(document):
        for line in code.splitlines():
            if line.startswith("bash "):
                assert (ROOT / shlex.split(line, comments=True)[1]).is_file(), line


def test_readme_is_short():
    text = text_of("README.md")
    print(f"\nREADME.md: {len(text.splitlines())} lines, {len(text.split())} words")
    assert len(text.splitlines()) <= README_LINES
    assert "Nothing has run on an NPU" in text
