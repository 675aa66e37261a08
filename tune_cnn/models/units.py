"""The live side of freezing: find a network's units, and hold a prefix of them still."""

from collections.abc import Iterator, Sequence

from torch import nn

# What num_classes=0 and dropout rates leave in the line without a part in it.
_NO_UNIT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
# timm's BatchNormAct2d and all of torch's own derive from this class, which has no public name.
BatchNorm = nn.modules.batchnorm._BatchNorm


def units_of(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Give the dotted names and modules of a network's units, in the order they were registered.

    That this is also the order they run in is what the catalogue makes sure of for each backbone it lists.
    """
    return list(_walk(network, ""))


def _walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        # A subclass that does more than run its children in a row is a unit of its own.
        if isinstance(child, nn.Sequential) and type(child).forward is nn.Sequential.forward:
            yield from _walk(child, f"{prefix}{name}.")
        elif not isinstance(child, _NO_UNIT):
            yield f"{prefix}{name}", child


def weight_layers(unit: nn.Module) -> int:
    """Count the modules of a unit (itself included) that hold parameters of their own, not through children."""
    return sum(any(True for _ in module.parameters(recurse=False)) for module in unit.modules())


def count_weights(module: nn.Module) -> tuple[int, int]:
    """Count all weights, and those that train: as Keras does (see docs/decisions/0008).

    All are the parameters and the running mean and variance of BatchNorm, which are learned but not by gradients;
    those that train are the parameters that take a gradient.
    """
    parameters = list(module.parameters())
    buffers = [pair for layer in batch_norms(module) for pair in layer.named_buffers(recurse=False)]
    running = [value for name, value in buffers if name.startswith("running_")]
    total = sum(one.numel() for one in (*parameters, *running))
    return total, sum(one.numel() for one in parameters if one.requires_grad)


def hold_still(units: Sequence[nn.Module], frozen: int) -> None:
    """Take the gradient from the parameters of the first `frozen` units, and give it to those of the others."""
    for index, unit in enumerate(units):
        unit.requires_grad_(index >= frozen)
    keep_asleep(units[:frozen])


def keep_asleep(frozen: Sequence[nn.Module]) -> None:
    """Put frozen units into eval mode.

    requires_grad=False stops the weights, not the running statistics: a frozen BatchNorm must also be in eval mode,
    and a frozen dropout must drop nothing.
    """
    for unit in frozen:
        unit.eval()


def batch_norms(module: nn.Module) -> list[BatchNorm]:
    """Give all BatchNorm layers within a module that keep running statistics."""
    return [each for each in module.modules() if isinstance(each, BatchNorm) and each.track_running_stats]
