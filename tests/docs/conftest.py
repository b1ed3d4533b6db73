"""Which examples and pages this stack runs."""

from __future__ import annotations

from importlib.util import find_spec

from tests.eras import SINCE_2_4, SINCE_2_7

# The example in the API before 2.4 is run there.
collect_ignore = ["test_example_2022.py"] if SINCE_2_4 else []
# IREE belongs to the stacks on which every program has a plain form; on others it may be there.
if not SINCE_2_7 and find_spec("iree") is None:
    collect_ignore += ["test_iree_page.py"]
