"""Says whether the versions that a stack asks for are those installed: ran_on.py STACK.txt."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

wrong = []
for line in Path(sys.argv[1]).read_text().splitlines():
    if not line.strip() or line.startswith("#"):
        continue
    wanted = Requirement(line)
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        found = "missing"
    if found == "missing" or found not in wanted.specifier:
        wrong.append(f"{wanted} is asked for, {found} is installed")
    elif "==" in str(wanted.specifier):
        print(wanted.name, found)  # noqa: T201
if wrong:
    sys.exit("\n".join(wrong))
