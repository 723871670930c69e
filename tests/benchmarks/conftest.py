"""`benchmarks` is not installed; it is run from the checkout, and so are its tests."""

import sys
from pathlib import Path

# At the end, so that the rooms' folders hide nothing of that name that is installed.
sys.path.append(str(Path(__file__).resolve().parents[2]))
