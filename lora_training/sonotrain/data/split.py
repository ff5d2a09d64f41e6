"""Which recordings are for training, validation and test: by hash, so that new files move no old ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping


def share(group: str, seed: int) -> float:
    """A number in [0, 1) that hangs on the group's name and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def assign(
    groups: Iterable[str], validation: float, test: float, seed: int, fixed: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The split of each group of recordings.

    Args:
        validation, test: parts of all groups; small sets come near them only by chance.
        fixed: groups whose split is already settled, by the source or when the dataset was made before.

    Returns:
        {group: "train", "validation" or "test"}. There is always something to train on, and from two free
        groups on something to validate with (the one that the hash puts nearest), if that is wanted at all.
    """
    settled = dict(fixed or {})
    free = sorted(set(groups) - set(settled), key=lambda group: (share(group, seed), group))
    result = dict(settled)
    for group in free:
        at = share(group, seed)
        result[group] = "test" if at < test else "validation" if at < test + validation else "train"
    training = [group for group in free if result[group] == "train"]
    if "train" not in result.values() and free:
        result[free[-1]] = "train"
        training = [free[-1]]
    if validation > 0 and "validation" not in result.values():
        testing = [group for group in free if result[group] == "test"]
        if len(training) > 1:
            result[training[0]] = "validation"
        elif testing:
            result[testing[-1]] = "validation"
    return result
