"""From the `model` section of a config to a network."""

from tune_cnn.models.classifier import build_classifier
from tune_cnn.models.network import Network
from tune_cnn.sections.model import ModelConfig


def build_network(config: ModelConfig, classes: int, *, px: int, keep: bool = False) -> Network:
    """Build a network in training mode on the CPU, its weights loaded and its backbone frozen as the config says.

    What is not loaded is drawn from torch's global generator: seed it before.

    Args:
        config: with a decoder for a segmenter, without for a classifier.
        classes: number of logits, per image or per pixel.
        px: height and width of the images; a head on unpooled features is made for that size.
        keep: whether to keep the backbone in this process for the next call, as a worker does that runs many trials.

    Raises:
        SpaceFileError: no such backbone, or a freeze depth beyond it.
        WeightsError: the file cannot be read or does not fit; or weights are asked for and no file is given.
    """
    if config.decoder is None:
        return build_classifier(config, classes, px=px, keep=keep)
    from tune_cnn.models.segmenter import build_segmenter  # smp takes seconds: only segmentation pays for it

    return build_segmenter(config, classes, keep=keep)
