"""Write the pages of docs/ that are made from the code. `--check` only says whether they are current."""

import sys
from collections.abc import Callable
from pathlib import Path

from labdock_search import reference

DOCS = Path(__file__).parent.parent / "docs"
PAGES: dict[str, Callable[[], str]] = {"search.md": reference.page}


def main() -> int:
    stale = 0
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale += 1
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
        sys.stdout.write(f"docs/{name} {'is stale: run make docs' if '--check' in sys.argv else 'written'}\n")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
