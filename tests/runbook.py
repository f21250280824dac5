"""The sections and blocks of k8s/RUNBOOK.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

RUNBOOK: Final = Path(__file__).parent.parent / "k8s" / "RUNBOOK.md"


def section(title: str) -> str:
    """Return the text of a section, without its title."""
    _, _, rest = RUNBOOK.read_text().partition(f"\n## {title}\n")
    assert rest, f"the runbook has no section {title}"
    return rest.partition("\n## ")[0]


def block(title: str) -> str:
    """Return the first block of commands in a section."""
    found = re.search(r"^```sh\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)
    assert found is not None, f"the section {title} has no block of commands"
    return found[1]
