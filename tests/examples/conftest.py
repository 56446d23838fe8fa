"""Lets tests import what stands in `examples/`, as running a script there does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
