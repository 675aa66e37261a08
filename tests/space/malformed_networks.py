"""Networks and phases of training that must be refused: what is wrong, and a piece of what the user is told."""

from tests.space.malformed_spaces import GOOD, MalformedSpace


def _line(number: int, text: str, says: str, *, id: str, faults: int = 1, at: int | None = None) -> MalformedSpace:  # noqa: A002
    lines = GOOD.splitlines()
    lines[number - 1] = text
    return MalformedSpace(id, "\n".join(lines) + "\n", at or number, says, faults)


def _custom(layers: str, says: str, *, id: str, rest: str = "", faults: int = 1, at: int = 8) -> MalformedSpace:  # noqa: A002
    return _line(8, f"  backbone: {{kind: custom, layers: {layers}}}{rest}", says, id=id, faults=faults, at=at)


def _head(values: str, says: str, *, id: str, at: int = 9) -> MalformedSpace:  # noqa: A002
    return _line(9, f"  head: {values}", says, id=id, at=at)


MALFORMED_NETWORKS = (
    _custom("[]", "model.backbone.layers: layers is empty; write one layer or more", id="no-layers"),
    _custom("64", "model.backbone.layers: 64 is not a list; write e.g. layers: [64]", id="number-for-layers"),
    _custom("[64]", "model.backbone.layers.0: 64 is not a section; write {conv: 64}", id="number-for-a-layer"),
    _custom("[{kernel: 3}]", "model.backbone.layers.0.conv: missing; write e.g. conv: 32", id="layer-without-channels"),
    _custom(
        "[{conv: 8, padding: smae}]",
        "'smae' cannot stand here; did you mean 'same'? Write same, valid or a whole number",
        id="padding-misspelt",
    ),
    _custom("[{conv: 8, padding: 5}]", "padding is 5, but the kernel 3; write 0 to 2, same or valid", id="padding"),
    _custom("[{conv: 8, paddding: 1}]", "unknown name; did you mean 'padding'?", id="unknown-name-in-a-layer"),
    _custom("[{conv: 8, pool: 1}]", "model.backbone.layers.0.pool: 1 is too small; write 2 or more", id="pool-of-one"),
    _custom(
        "[{conv: 8}, {conv: 8, repeat: {range: [0, 3]}}]",
        "model.backbone.layers.1.repeat: the range's lower end 0 is too small; write 1 or more",
        id="repeat-of-nothing",
    ),
    _custom(
        "{choice: [[{conv: 8}], [{conv: 8}, {conv: 0}]]}",
        "model.backbone.layers.1.conv: 0 is too small; write 1 or more",
        id="wrong-layer-in-a-choice",
    ),
    _custom(
        "[{conv: 8, pool: 4, repeat: 3}, {conv: 8, kernel: 5, padding: valid}]",
        "model.backbone.layers.1: kernel 5 of conv 8 is larger than the 3 x 3 px that are left for it; write kernel: 3",
        id="kernel-larger-than-what-is-left",
    ),
    _custom(
        "[{conv: 8, pool: 4, repeat: {range: [1, 4]}}]",
        "pool 4 after conv 8 is larger than the 3 x 3 px that are left for it",
        id="pooled-away-at-one-end-of-a-range",
    ),
    _custom(
        "[{conv: 8, pool: 16}, {conv: 8, pool: 3, kernel: {choice: [9, 3]}, padding: {choice: [valid, 1]}, repeat: 2}]",
        "kernel 9 of conv 8 is larger than the 2 x 2 px that are left for it",
        id="too-small-where-all-layers-take-most",
    ),
    _custom(
        "[{conv: 8}]",
        "weights is imagenet, but a custom backbone has none",
        id="custom-imagenet",
        rest="\n  weights: imagenet",
        at=9,
    ),
    _custom("[{conv: 8}]", "stages is for backbones with a name", id="custom-stages", rest="\n  stages: 2", at=9),
    _custom(
        "[{conv: 8}]",
        "freeze is written, but a custom backbone starts from random weights",
        id="custom-freeze",
        rest="\n  freeze: {depth: 0.5}",
        at=9,
    ),
    _line(
        8,
        "  backbone: {kind: costum, layers: [{conv: 8}]}",
        "'costum' is unknown; did you mean 'custom'?",
        id="custom-kind",
    ),
    _line(
        8, "  backbone: {layers: [{conv: 8}]}", "model.backbone.kind: missing; write e.g. kind: custom", id="no-kind"
    ),
    _line(8, "  backbone: 18", "18 is not text; write e.g. tf_efficientnet_lite0", id="number-for-a-backbone"),
    _line(
        8,
        "  backbone: {choice: [resnet18, {kind: custom, layers: [{conv: -8}]}]}",
        "-8 is too small; write 1 or more",
        id="wrong-layer-among-names",
    ),
    _line(
        9,
        "  head: {choice: {small: {dropout: 0.1}, large: {dropout: 1.5}}}",
        "model.head.dropout: 1.5 is too large",
        id="wrong-value-in-a-named-option",
    ),
    _line(
        9,
        "  head: {dropout: {choice: {small: 0.1, large: 0.5}}}",
        "names in a choice are for sections and lists, and small is 0.1; write a list",
        id="names-for-numbers",
    ),
    _line(9, "  head: {choice: {}}", "the choice is empty; write {choice: [a, b]}", id="no-named-options"),
    _line(9, "  stages: 9", "model.stages: 9 are more than tf_efficientnet_lite0 has; write 5", id="too-many-stages"),
    _line(9, "  stages: 0", "model.stages: 0 is too small; write 1 or more", id="no-stages"),
    _head("{kind: forest}", "'forest' is unknown; write dense, svm or logistic", id="unknown-head"),
    _head("{c: 2.0}", "model.head.c: c is written, but it is for kind svm or logistic", id="c-of-a-dense-head"),
    _head("{kind: svm, c: 0}", "model.head.c: 0 is too small; write a number above 0", id="c-of-zero"),
    _head(
        "{kind: svm, hidden: [8]}",
        "model.head.hidden: hidden is written, but kind svm is one linear layer on the pooled features",
        id="hidden-layers-of-an-svm",
    ),
    _head("{kind: logistic, dropout: 0.5}", "leave dropout out, or write kind: dense", id="dropout-of-a-fit"),
    _head("{features: flatt}", "'flatt' is unknown; did you mean 'flat'?", id="unknown-features"),
    _head(
        "{kind: svm}\n  freeze: {depth: 0.5}",
        "freeze leaves units to train, but head.kind svm is fitted to a wholly frozen backbone",
        id="svm-on-a-live-backbone",
        at=10,
    ),
    _head(
        "{convolutions: [{conv: 8, kernel: 9, padding: valid}]}",
        "model.head.convolutions.0: kernel 9 of conv 8 is larger than the 7 x 7 px",
        id="kernel-larger-than-the-map",
    ),
    _line(12, "  optimizer: {kind: adam, layer_decay: 1.5}", "1.5 is too large; write 1 or less", id="rate-that-grows"),
    _line(12, "  optimizer: {kind: adam, layer_decay: 0}", "write a number above 0", id="decay-to-nothing"),
    _line(11, "  warm_up: {epochs: 2, lr: 0}", "training.warm_up.lr: 0 is too small", id="warm-up-at-rate-zero"),
    _line(11, "  warm_up: {epochs: 2, stop_patience_epochs: 0}", "0 is too small; write 1 or more", id="no-patience"),
)
