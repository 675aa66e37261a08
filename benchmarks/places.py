"""Where things lie, without importing anything heavy."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SPACES = Path(__file__).parent / "spaces"
AQUARIUM = (ROOT / "data" / "aquarium", ROOT.parent / "shared" / "data" / "aquarium")
RESULTS = Path(__file__).parent / "RESULTS.md"
