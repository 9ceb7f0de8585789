"""The command lines and snippets in this project's documents."""

import ast
import re
from pathlib import Path

from diffmae_video.__main__ import COMMANDS
from tests.repository import ROOT

NAMES = [name for commands in COMMANDS.values() for name in commands]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "datasets/README.md"]
PAGES += [path for path in sorted((ROOT / "docs").rglob("*.md")) if "results/" not in str(path)]
DOCUMENTS = [*PAGES, *sorted((ROOT / "diffmae_video/commands").glob("*.py"))]
LAUNCHER = re.compile(r"^\s+(?:WORLD_SIZE=8 )?(?:diffmae|.*-m diffmae_video|.*--module diffmae_video) (\S.*)")


def command_lines(path: Path) -> list[str]:
    """The arguments of the diffmae commands in a document; those that are cut short are left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    text = re.sub(r"\\+\n\s*", "", text)
    found = [match[1] for line in text.splitlines() if (match := LAUNCHER.match(line.split("#")[0]))]
    found = [re.split(r"\s{3,}|\s\[|\s[|>]\s", line)[0].strip() for line in found if "..." not in line]
    return [line for line in found if line.split()[0] in NAMES]


def python_snippets(path: Path) -> list[str]:
    """Indented blocks that import from this package, as code."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", path.read_text(encoding="utf-8"), re.M)
    blocks = [block for block in blocks if "    from diffmae_video import" in block]
    return ["\n".join(line[4:] for line in block.splitlines()) for block in blocks]
