"""The outputs of a layer whose call can request more than one."""

from models.masking import Tensor


def outputs(output: Tensor, *requested: Tensor | None) -> Tensor | tuple[Tensor, ...]:
    """Return `output`, or a tuple of it and every other tensor that is not None."""
    others = [each for each in requested if each is not None]
    return (output, *others) if others else output
