"""Segmentation spaces that must be refused, and classification spaces with parts of them."""

from tests.space.malformed_spaces import MalformedSpace
from tests.space.malformed_spaces import _line as class_line

GOOD_MASKS = """\
name: flood
task: segmentation
data:
  kind: masks
  root: images
  images: Image
  masks: Mask
  values: {0: background, 255: water}
  splits: {val: 0.1, test: 0.2}
model:
  backbone: tf_efficientnet_lite0
  decoder: unet
training: {epochs: 8}
search: {trials: 4}
"""


def _line(number: int, text: str, says: str, *, id: str, at: int | None = None, faults: int = 1) -> MalformedSpace:  # noqa: A002
    """GOOD_MASKS with one line changed."""
    lines = GOOD_MASKS.splitlines()
    lines[number - 1] = text
    return MalformedSpace(id, "\n".join(lines) + "\n", number if at is None else at, says, faults)


SEGMENTATION_FAULTS = (
    _line(
        2,
        "task: classification",
        "data.kind: data.kind masks is for segmentation; write task: segmentation",
        id="masks-without-the-task",
        at=4,
    ),
    class_line(
        2,
        "task: segmentation",
        "data.kind folders gives a class per image, but task segmentation needs one per pixel; write kind: masks",
        id="task-without-masks",
        at=4,
    ),
    _line(
        12, "  freeze: {depth: 0.5}", "model needs a decoder for task segmentation", id="task-without-a-decoder", at=10
    ),
    class_line(
        9,
        "  decoder: unet",
        "model.decoder: model.decoder unet is for segmentation; leave it out",
        id="decoder-without-the-task",
    ),
    _line(
        9,
        "  splits: {val: 0.1, test: 0.2, group: {column: site}}",
        "splits.group.column is 'site', but there is no table that could have it; write pairs: FILE.csv, or group:",
        id="column-of-groups-without-a-table",
    ),
    _line(12, "  decoder: unett", "'unett' is unknown; did you mean 'unet'?", id="unknown-decoder"),
    _line(
        12,
        "  decoder: {choice: [unet, fpm]}",
        "model.decoder: 'fpm' is unknown; did you mean 'fpn'?",
        id="unknown-decoder-in-a-choice",
    ),
    _line(
        12,
        "  decoder: unet\n  head: {hidden: [64], dropout: 0.1}",
        "model.head.hidden: head.hidden is written, but the decoder unet stands in the place of the head",
        id="dense-layers-beside-a-decoder",
        at=13,
    ),
    _line(
        12,
        "  decoder: unet\n  head: {features: flat}",
        "model.head.features: head.features is written, but the decoder unet stands in the place of the head",
        id="flat-features-beside-a-decoder",
        at=13,
    ),
    _line(
        12,
        "  decoder: unet\n  stages: 3",
        "model.stages: stages is written, but the decoder unet takes what it needs of the backbone",
        id="stages-below-a-decoder",
        at=13,
    ),
    _line(
        11,
        "  backbone: {kind: custom, layers: [{conv: 8}]}",
        "model.decoder: decoder unet takes the feature maps of a backbone with a name, not of a custom one",
        id="decoder-on-a-custom-backbone",
        at=12,
    ),
    _line(
        12,
        "  decoder: {choice: [unet, pspnet]}\n  freeze: {last_units: 18}",
        "model.freeze.last_units: 18 units to train, but tf_efficientnet_lite0 has only",
        id="freeze-beyond-what-one-decoder-needs",
        at=13,
    ),
    _line(6, "  on_bad: skip", "data.images: missing; write e.g. images:", id="no-folder-of-images", at=3),
    _line(8, "  on_bad: skip", "data.values: missing; write e.g. values: {0: background", id="no-values", at=3),
    _line(
        8,
        "  values: {0: background}",
        "data.values: values name 1 classes; write two or more",
        id="one-class",
    ),
    _line(
        8,
        "  values: {black: background, 255: water}",
        "data.values: values name 'black', which is no value of a mask; write a gray level",
        id="word-for-a-value",
    ),
    _line(
        8,
        "  values: {0: background, '#ffffff': water}",
        "data.values: values mix colours ('#ffffff') and gray levels",
        id="colours-and-gray-levels",
    ),
    _line(8, "  values: {0: background, 255: ''}", "hold a class without a name", id="class-without-a-name"),
    _line(8, "  values: {0: background, 255: 3}", "data.values.255: 3 is not text", id="number-for-a-class"),
    _line(8, "  values: [background, water]", "data.values: a list is not a section", id="list-for-values"),
    _line(8, "  values: {0: background, 0: water}", "data.values.0: written twice, first in line 8", id="value-twice"),
    _line(
        8,
        "  values: {0: a, 128: b, 255: c}\n  threshold: 100",
        "data.values: values are no two gray levels, between which threshold could decide",
        id="threshold-between-three",
    ),
    _line(
        8,
        "  values: {0: a, 255: b}\n  threshold: 0",
        "data.threshold: 0 is too small; write 1 or more",
        id="threshold-zero",
        at=9,
    ),
    _line(13, "training: {loss: dise}", "did you mean 'dice'? Write cross_entropy, dice, focal or", id="unknown-loss"),
    _line(
        13, "training: {loss: [dice, focl]}", "'focl' is unknown; did you mean 'focal'?", id="unknown-loss-in-a-list"
    ),
    _line(13, "training: {loss: []}", "training.loss: loss is an empty list; write cross_entropy", id="no-loss"),
    _line(13, "training: {loss: [dice, dice]}", "training.loss: loss lists a term twice: dice, dice", id="loss-twice"),
    class_line(11, "  loss: dice", "training.loss: training.loss dice is for segmentation", id="dice-of-whole-images"),
    _line(
        14,
        "search: {metric: val_accuracy}",
        "search.metric val_accuracy is not of task segmentation; write val_miou, val_dice, val_pixel_accuracy or",
        id="metric-of-the-other-task",
    ),
    class_line(
        15, "search: {metric: val_miou}", "search.metric val_miou is not of task classification", id="miou-of-classes"
    ),
    class_line(
        4, "  kind: folders\n  values: {0: a, 1: b}", "it belongs to kind masks", id="values-of-another-kind", at=5
    ),
)
