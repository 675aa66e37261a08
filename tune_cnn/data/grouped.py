"""Groups of images dealt into parts of given shares, each group whole, each class divided as the whole is."""

from collections import Counter
from collections.abc import Iterable, Sequence


def deal_groups(images: Iterable[tuple[str, str]], order: Sequence[str], shares: Sequence[float]) -> dict[str, int]:
    """Deal groups into parts, the large ones first, each to the part that lacks most of what it holds.

    What a part lacks is measured in squares relative to its share, of each class and of all images: a large group does
    not go where it would overfill a small part. No part stays empty if there are groups enough, whatever that costs.

    Args:
        images: the group and the class of each image.
        order: all groups, in the order in which groups of similar size are dealt.
        shares: of each part, above 0, of all images.

    Returns:
        The part of each group; empty for no groups.
    """
    held: dict[str, Counter[str]] = {group: Counter() for group in order}
    for group, class_name in images:
        held[group][class_name] += 1
    parts = _Parts(held.values(), shares)
    part_of: dict[str, int] = {}
    # By powers of two, so that the seeded order decides among groups of similar size.
    for group in sorted(order, key=lambda group: -held[group].total().bit_length()):
        part_of[group] = parts.neediest(held[group])
        parts.add(held[group], part_of[group])
    _fill_empty_parts(part_of, held, len(shares))
    return part_of


class _Parts:
    """What each part holds by class, and how much of each class would be its share."""

    def __init__(self, groups: Iterable[Counter[str]], shares: Sequence[float]) -> None:
        images = sum(groups, Counter[str]())
        self._wanted = [{name: count * share for name, count in images.items()} for share in shares]
        self._wanted_images = [images.total() * share for share in shares]
        self._held: list[Counter[str]] = [Counter() for _ in shares]

    def neediest(self, group: Counter[str]) -> int:
        """The part that comes nearest to its share by this group; the first of equals."""
        return min(range(len(self._held)), key=lambda part: self._worsened(group, part))

    def add(self, group: Counter[str], part: int) -> None:
        self._held[part].update(group)

    def _worsened(self, group: Counter[str], part: int) -> float:
        """By how much the squared distance to the part's share, relative to the share, would grow."""
        held, wanted = self._held[part], self._wanted[part]
        by_class = sum(_growth(held[name], count, wanted[name]) for name, count in group.items())
        return by_class + _growth(held.total(), group.total(), self._wanted_images[part])


def _growth(held: int, more: int, wanted: float) -> float:
    """((held + more - wanted)^2 - (held - wanted)^2) / wanted."""
    return more * (2 * (held - wanted) + more) / wanted


def _fill_empty_parts(part_of: dict[str, int], held: dict[str, Counter[str]], parts: int) -> None:
    """Give each empty part the smallest group of the part that has most groups, as long as one has two."""
    for empty in sorted(set(range(parts)) - set(part_of.values())):
        groups_in = Counter(part_of.values())
        giver, has = max(groups_in.items(), key=lambda item: (item[1], -item[0]), default=(0, 0))
        if has < 2:
            return
        smallest = min((group for group in part_of if part_of[group] == giver), key=lambda group: held[group].total())
        part_of[smallest] = empty
