"""Where tests find real images: beside the checkout, or nowhere, and then they are skipped."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def shared(*parts: str) -> Path:
    """A file or folder below `<checkout>/../shared`; skips the calling test where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data not there: {path}")
    return path
