"""Networks from scratch: convolution layers as a space writes them out, built in torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from tune_cnn.errors import WeightsError
from tune_cnn.models.layer_plan import padding_px, unrolled
from tune_cnn.models.weights_fit import Wanted, misfits, read_shapes
from tune_cnn.sections.layers import ConvLayer, CustomBackbone

RGB = 3
_OWN = "backbone."  # what the names of a saved model's backbone begin with


class ConvBlock(nn.Module):
    """One layer, and one unit: convolution with bias, BatchNorm, ReLU, pooling, dropout of whole channels.

    The bias stays where a BatchNorm follows, as in Keras, so that published parameter counts come out.
    """

    def __init__(self, inputs: int, layer: ConvLayer) -> None:
        super().__init__()
        # torch's own `same` knows no stride, and warns of even kernels, which need one pixel more right and below.
        uneven = layer.padding == "same" and layer.kernel % 2 == 0
        self.pad = nn.ZeroPad2d((0, 1, 0, 1)) if uneven else nn.Identity()
        self.conv = nn.Conv2d(inputs, layer.conv, layer.kernel, stride=layer.stride, padding=padding_px(layer))
        self.norm = nn.BatchNorm2d(layer.conv) if layer.batch_norm else nn.Identity()
        self.act = nn.ReLU()
        self.pool = _pool(layer)
        self.drop = nn.Dropout2d(layer.dropout) if layer.dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, conv, h, w)."""
        out: Tensor = self.drop(self.pool(self.act(self.norm(self.conv(self.pad(x))))))
        return out

    def describe(self) -> dict[str, Any]:
        """Read the layer back from the live modules, as a space would write it."""
        pooled = not isinstance(self.pool, nn.Identity)
        return {
            "conv": self.conv.out_channels,
            "kernel": self.conv.kernel_size[0],
            "padding": "same" if isinstance(self.pad, nn.ZeroPad2d) else self.conv.padding[0],
            "stride": self.conv.stride[0],
            "pool": self.pool.kernel_size if pooled else None,
            "pool_kind": "avg" if isinstance(self.pool, nn.AvgPool2d) else "max",
            "batch_norm": isinstance(self.norm, nn.BatchNorm2d),
            "dropout": self.drop.p if isinstance(self.drop, nn.Dropout2d) else 0.0,
        }


class CustomNetwork(nn.Module):
    """A backbone of written-out layers with timm's two ways to be called: the map, and its mean over all pixels."""

    def __init__(self, layers: Sequence[ConvLayer]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*blocks(RGB, layers))

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        out: Tensor = self.layers(images)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C)."""
        return self.forward_features(images).mean(dim=(2, 3))


def custom_network(config: CustomBackbone, file: Path | None = None) -> CustomNetwork:
    """Make a network from scratch, with the weights of a safetensors file or with random ones.

    Args:
        config: its layers.
        file: its own weights, or the `model.safetensors` of a `best/` folder with the same layers.

    Raises:
        WeightsError: the file cannot be read, or holds another network.
    """
    network = CustomNetwork(config.layers)
    if file is None:
        return network
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    shapes = read_shapes(file)
    own = {name.removeprefix(_OWN): name for name in shapes if not name.startswith("head.")}
    faults = misfits({name: shapes[stored] for name, stored in own.items()}, Wanted(wanted, ()))
    if faults:
        raise WeightsError(f"{file}: does not hold the weights of the custom backbone: {'; '.join(faults)}")
    held = load_file(file)
    network.load_state_dict({name: held[stored] for name, stored in own.items()})
    return network


def blocks(inputs: int, layers: Sequence[ConvLayer]) -> list[ConvBlock]:
    """Build layers in a row, each as often as it is repeated; `inputs` channels go into the first."""
    built: list[ConvBlock] = []
    for planned in unrolled(layers):
        built.append(ConvBlock(inputs, planned.layer))
        inputs = planned.layer.conv
    return built


def _pool(layer: ConvLayer) -> nn.Module:
    if layer.pool is None:
        return nn.Identity()
    return nn.MaxPool2d(layer.pool) if layer.pool_kind == "max" else nn.AvgPool2d(layer.pool)
