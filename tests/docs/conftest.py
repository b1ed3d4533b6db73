"""The choice of examples and pages that this stack runs."""

from __future__ import annotations

from importlib.util import find_spec

from tests.eras import SINCE_2_4, SINCE_2_7

# The example in the API before 2.4 runs only on those versions.
collect_ignore = ["test_example_2022.py"] if SINCE_2_4 else []
# The IREE page needs a stack on which every program has a portable form, or an installed IREE.
if not SINCE_2_7 and find_spec("iree") is None:
    collect_ignore += ["test_iree_page.py"]
