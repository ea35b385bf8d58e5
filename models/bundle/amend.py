"""Change the card of a saved bundle."""

from pathlib import Path
from typing import Any

from models.bundle.card import BundleCard, read_card, write_card
from models.bundle.replacement import copy_files, folder_beside, replace_folder
from models.bundle.verification import check_files


def amend_card(path: Path, **changes: Any) -> BundleCard:
    """Write `changes`, plain values by field, into the card of the bundle in folder `path`, and return the new card.

    The bundle is replaced in one step. Its files stay as they are; the version changes.

    Raises:
        BundleError: the card is invalid before or after the change, or a file differs from its hash in the card.
    """
    path = path.resolve()
    card = read_card(path)
    check_files(path, card.files)
    with folder_beside(path) as partial:
        copy_files(path, partial, card.files)
        amended = write_card(partial, card.model_dump(mode="json", exclude={"version", "files"}) | changes, place=path)
        replace_folder(partial, path)
    return amended
