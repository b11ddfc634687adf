"""ms_moe_comm/ERRORS.md has every message that a user can see, in the words of the sources."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "ms_moe_comm" / "ERRORS.md").read_text(encoding="utf-8")
# Left out: the twin's errors are for authors of kernels, the commands in cli/ print, and the reference is for tests.
PYTHON = [path for path in sorted((ROOT / "ms_moe_comm").rglob("*.py"))
          if not {"_generated", "cli", "reference"} & set(path.parts)]
CPP = [path for path in sorted((ROOT / "op_impl").rglob("*")) if path.suffix in (".cc", ".h")
       and "host_twin" not in path.parts]
RAISES = re.compile(r"\bthrow (?!;)|\bFail(?:Type)?\(|\bMS_EXCEPTION\(")
WORDS = 14  # so many letters tell a text from others
VALUE = "\0"  # stands for a value in a message


def text_of(node):
    """The text of a Python literal; empty for a number."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)
    return node.value if isinstance(node.value, str) else ""


def python_messages(path):
    """[(line, text)] of a module's errors and warnings, with VALUE for each formatted value."""
    messages = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        tells = isinstance(node, ast.Call) and re.search(r"(Error|\.warn|\._fail)$", ast.unparse(node.func))
        if tells or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "problem"):
            formatted = [part for part in ast.walk(node) if isinstance(part, ast.JoinedStr)]
            within = {id(part) for text in formatted for part in ast.walk(text) if part is not text}
            messages += [(node.lineno, text_of(part)) for part in ast.walk(node)
                         if isinstance(part, (ast.Constant, ast.JoinedStr)) and id(part) not in within]
    return messages


def cpp_statements(path):
    """[(line, code, text)] of a source's statements with literals; adjacent literals are one."""
    source = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
    statements, start = [], 0
    for end in re.finditer(r'"(?:\\.|[^"\\\n])*"|[;{}]|\Z', source):
        if end[0][:1] == '"':
            continue
        code = source[start:end.end()]
        joined = re.sub(r'"\s*(<<\s*)?"', "", re.sub(r"#[^\n]*", "", code))
        literals = [literal.replace('\\"', '"') for literal in re.findall(r'"((?:\\.|[^"\\\n])*)"', joined)]
        if literals:
            line = source.count("\n", 0, start + len(code) - len(code.lstrip())) + 1
            statements.append((line, code, VALUE.join(literals)))
        start = end.end()
    return statements


def documented():
    """{message: its fixed words} of the page: the first cells of its tables, without "For '...', "."""
    messages = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    return {message: [words for words in re.split(r"<[^>]*>|\.\.\.", re.sub(r"^For '[^']*', ", "", message))
                      if len(words.strip()) > 3]
            for message in messages}


def literals_of(messages):
    """All texts of a file, each after a VALUE, without the "For '...', " that names the operator or class."""
    return re.sub(rf"{VALUE}For '[\w.]*{VALUE}?', ", VALUE, VALUE + VALUE.join(messages))


MESSAGES = documented()
STATEMENTS = {path: cpp_statements(path) for path in CPP}
TEXTS = ([literals_of(text for _, _, text in statements) for statements in STATEMENTS.values()] +
         [literals_of(text for _, text in python_messages(path)) for path in PYTHON])


def is_documented(text):
    """Whether the text is a message of the page, or has enough of a message's fixed words."""
    return text in PAGE or any(
        re.sub(r"<[^>]*>", VALUE, message) == text or any(len(words) >= WORDS and words in text for words in fixed)
        for message, fixed in MESSAGES.items())


def stands_in(text, message):
    """Whether a file's text has a message's fixed words in their order, the first at the beginning of a literal."""
    at = 0
    for words in MESSAGES[message]:
        found = text.find(words if at else VALUE + words, at)
        if found < 0:
            return False
        at = found + len(words)
    return True


def test_documented_messages_stand_in_the_sources():
    assert all(MESSAGES.values())
    assert [message for message in MESSAGES if not any(stands_in(text, message) for text in TEXTS)] == []


def test_errors_of_python_are_documented():
    assert [(path.name, line, text) for path in PYTHON for line, text in python_messages(path)
            if len(text) >= WORDS and not is_documented(text)] == []


def test_errors_of_cpp_are_documented():
    """Texts that a statement throws, and in the room `host` also texts that it returns as parts of a sentence."""
    assert [(path.name, line, text) for path, statements in STATEMENTS.items() for line, code, text in statements
            if (RAISES.search(code) or (path.parent.name == "host" and re.search(r"\breturn\b", code)))
            and any(len(part) >= WORDS for part in text.split(VALUE)) and not is_documented(text)] == []


def test_every_error_code_is_listed():
    errors = (ROOT / "op_impl" / "contract" / "errors.h").read_text(encoding="utf-8")
    codes = [("kNoError", "0"), ("kOverflow", "7"),
             *((f"k{name}", code) for code, name in re.findall(r"^  ERROR\((\d+), (\w+)\)", errors, re.MULTILINE))]
    listed = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert [(name, code) for code, name, _ in listed] == sorted(codes, key=lambda code: int(code[1]))
    for _, _, message in listed[1:]:
        words = re.split(r"<[^>]*>", re.search(r"`([^`]+)`", message)[1])
        assert any(all(word in text for word in words) for text in MESSAGES), message
