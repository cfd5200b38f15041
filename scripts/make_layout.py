"""Write every module's line into docs/architecture.rst: what its own first sentence says it is."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "docsession"
DOCUMENT = ROOT / "docs" / "architecture.rst"

# In the order in which they are best read.
FOLDERS = ("", "google", "web", "backend", "sandbox", "static")

_BLOCK = re.compile(r"(?<=\n\.\. layout\n)\n::\n\n(?:(?:   .*)?\n)*?(?=\n\S)")
_SCRIPT = re.compile(r"/\*\*\s*(?P<block>.*?)\*/|// (?P<line>.*)", re.DOTALL)


def first_sentence(path: Path) -> str:
    """What a module says it is."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        found = _SCRIPT.match(text)
        said = "" if found is None else found["block"] or found["line"].partition("\n")[0]
        said = re.sub(r"^ *\* ?", "", said, flags=re.MULTILINE)
    paragraph = " ".join(said.strip().partition("\n\n")[0].split())
    sentence = re.match(r".*?[.?!](?= |$)", paragraph)
    return sentence[0] if sentence else paragraph


def layout() -> str:
    """The literal block."""
    lines = []
    for folder in FOLDERS:
        place = PACKAGE / folder
        lines.append(f"   {place.relative_to(ROOT)}/")
        lines.extend(
            f"     {path.name:<22} {first_sentence(path)}"
            for path in sorted(place.iterdir())
            if path.suffix in (".py", ".js") and path.name != "__init__.py"
        )
    return "\n::\n\n" + "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when the layout is not this")
    options = parser.parse_args(arguments)
    text = DOCUMENT.read_text(encoding="utf-8")
    block = layout()
    if not _BLOCK.search(text):
        raise SystemExit(f"{DOCUMENT.name} has no layout to replace")
    made = _BLOCK.sub(lambda _: block, text)
    if made == text:
        return 0
    if options.check:
        print(f"{DOCUMENT.name}: the layout is not today's; run {Path(__file__).name}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(made, encoding="utf-8")
    print(f"wrote the layout into {DOCUMENT.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
