"""Copies among the images: one in two splits flatters the score, one under two classes cannot be learned."""

from collections.abc import Sequence

from tune_cnn.data.table import Row


def copy_warnings(rows: Sequence[Row], sha256: Sequence[str]) -> list[str]:
    """Look for files of the same content.

    Args:
        rows: the images, with their splits drawn.
        sha256: the digest of each one's content.

    Returns:
        At most two lines: copies in several splits, and copies under several classes, each with a count and an example.
    """
    by_content: dict[str, list[Row]] = {}
    for row, digest in zip(rows, sha256, strict=True):
        by_content.setdefault(digest, []).append(row)
    copies = [same for same in by_content.values() if len(same) > 1]
    leaks = [same for same in copies if len({row.split for row in same}) > 1]
    clashes = [same for same in copies if len({row.label for row in same}) > 1]
    return [
        f"{len(found)} images have an exact copy in another {where}, such as {found[0][0].path} and {found[0][-1].path}"
        for found, where in ((leaks, "split"), (clashes, "class"))
        if found
    ]
