"""Small images for tests, each different, so that none is taken for another."""

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def noise(seed: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    """An RGB image of (width, height) pixels of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def jpeg(seed: int, size: tuple[int, int] = (20, 16)) -> bytes:
    return encoded(noise(seed, size), "JPEG")


def put(path: Path, data: bytes) -> Path:
    """Write a file and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def class_folders(root: Path, *, parts: tuple[str, ...] = ("train", "val", "test"), images: int = 3) -> Path:
    """A sound data set: `parts` of the classes cat and dog, `images` of each."""
    for part in parts:
        for class_name in ("cat", "dog"):
            for number in range(images):
                name = f"{part}/{class_name}/{number}.jpg" if part else f"{class_name}/{number}.jpg"
                put(root / name, jpeg(seed_of(name)))
    return root


def seed_of(name: str) -> int:
    """A seed from a name; Python's own `hash` of a text changes from run to run."""
    return int.from_bytes(sha256(name.encode()).digest()[:6])
