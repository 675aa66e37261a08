"""Spaces that must be refused: what is wrong, in which line, and a piece of what the user is told."""

from dataclasses import dataclass

GOOD = """\
name: shapes
task: classification
data:
  kind: folders
  root: images
  splits: {train: train, val: valid}
model:
  backbone: tf_efficientnet_lite0
  head: {dropout: 0.2}
training:
  epochs: 8
  optimizer: {kind: adam, lr: 1e-3}
  schedule: {kind: plateau}
augment: light
search: {trials: 4}
"""


@dataclass(frozen=True)
class MalformedSpace:
    """A space file that must be refused.

    Attributes:
        id: what is wrong with it, in words.
        text: the file.
        line: the line of the first fault; None where the command line or no line is to blame.
        says: a piece of the message.
        faults: how many lines of faults there are.
    """

    id: str
    text: str
    line: int | None
    says: str
    faults: int = 1


def _lines(**changed: str) -> str:
    """GOOD with some lines (line_8=…) put in the place of others."""
    lines = GOOD.splitlines()
    for name, text in changed.items():
        lines[int(name.removeprefix("line_")) - 1] = text
    return "\n".join(lines) + "\n"


def _line(number: int, text: str, says: str, *, id: str, faults: int = 1, at: int | None = None) -> MalformedSpace:  # noqa: A002
    return MalformedSpace(id, _lines(**{f"line_{number}": text}), at or number, says, faults)


def _dropout(value: str, says: str, *, id: str, faults: int = 1) -> MalformedSpace:  # noqa: A002
    return _line(9, f"  head: {{dropout: {value}}}", says, id=id, faults=faults)


def _gpus(value: str, says: str, *, id: str) -> MalformedSpace:  # noqa: A002
    return _line(15, f"search: {{trials: 4, per_trial: {{gpus: {value}}}}}", says, id=id)


def _epochs(value: str, says: str, *, id: str, faults: int = 1, at: int | None = None) -> MalformedSpace:  # noqa: A002
    return _line(11, f"  epochs: {value}", says, id=id, faults=faults, at=at)


def _rate(value: str, says: str, *, id: str) -> MalformedSpace:  # noqa: A002
    return _line(12, f"  optimizer: {{kind: adam, lr: {value}}}", says, id=id)


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
)

YAML_FAULTS = (
    MalformedSpace("empty-file", "", 1, "the file is empty"),
    MalformedSpace("comments-only", "# to do\n", 1, "the file is empty"),
    MalformedSpace("a-list-instead-of-names", "- name: shapes\n", 1, "a list is not a space"),
    MalformedSpace("a-word-instead-of-names", "shapes\n", 1, "'shapes' is not a space"),
    MalformedSpace("two-documents", GOOD + "---\nname: other\n", 16, "a second document"),
    _line(15, "name: other", "name: written twice, first in line 1", id="duplicate-name"),
    _rate("1e-3, lr: 1e-4", "training.optimizer.lr: written twice", id="duplicate-in-braces"),
    MalformedSpace("alias-bomb", _BOMB + GOOD, 4, "more than 10000 values"),
    MalformedSpace("alias-in-itself", "a: &a [*a]\n" + GOOD, 1, "the alias *a has no anchor before it"),
    _line(8, "  backbone: *b", "the alias *b has no anchor before it", id="alias-without-anchor"),
    _line(
        1,
        "name: !!python/object/apply:os.system ['true']",
        "the tag '!!python/object/apply:os.system'",
        id="python-tag",
    ),
    _rate("!!float 1", "the tag '!!float'", id="float-tag"),
    _line(11, "\tepochs: 8", "not with a tab", id="tab"),
    _line(12, "  optimizer: {kind: adam, lr: 1e-3", "close the brace with }", id="open-brace", at=13),
    _line(8, "  backbone: 'lite0", "close the quote", id="open-quote", at=16),
    _line(8, "  backbone: lite0: small", "mapping values are not allowed", id="colon-in-a-word"),
    _line(8, "  backbone: @lite0", "put the text in quotes", id="at-sign"),
    _rate(".nan", ".nan is not a finite number", id="nan"),
    _rate("{range: [1e-5, .inf], log: true}", ".inf is not a finite number", id="infinite-bound"),
    _rate("{range: [.nan, 1e-2]}", ".nan is not a finite number", id="nan-bound"),
    _rate("1e999", "'1e999' is too large a number", id="beyond-floats"),
    _line(10, "<<: {}\ntraining:", "<< is not part of YAML 1.2", id="merge-key"),
    _line(9, "  1: 2", "model.1: unknown name; known here: backbone", id="number-for-a-name"),
    MalformedSpace(
        "nested-too-deep", _lines(line_14="augment: " + "[" * 40 + "]" * 40), 14, "nested more than 30 deep"
    ),
)

NAME_FAULTS = (
    _line(10, "trainig:", "trainig: unknown name; did you mean 'training'?", id="unknown-section"),
    _line(11, "  epohs: 8", "training.epohs: unknown name; did you mean 'epochs'?", id="unknown-name"),
    _line(
        13,
        "  schedule: {kind: plateau, pateince_epochs: 2}",
        "did you mean 'patience_epochs'?",
        id="unknown-name-in-a-branch",
    ),
    _line(
        9,
        "  dropout: 0.2",
        "model.dropout: unknown name; did you mean model.head.dropout?",
        id="name-one-level-too-high",
    ),
    _line(
        12,
        "  lr: 1e-3",
        "training.lr: unknown name; did you mean training.optimizer.lr or training.warm_up.lr?",
        id="rate-outside-the-optimizer",
    ),
    _line(
        13,
        "  schedule: {kind: cosine, factor: 0.1}",
        "unknown name for kind cosine; it belongs to kind plateau",
        id="name-of-another-kind",
    ),
    _line(13, "  optimizer.lr: 0.1", "write sections within sections: optimizer: {lr: …}", id="dotted-name"),
    _line(15, "search: {trails: 4}", "search.trails: unknown name; did you mean 'trials'?", id="unknown-in-search"),
    _line(
        15,
        "search: {asha: {grace: 3}}",
        "search.asha.grace: unknown name; did you mean 'grace_epochs'?",
        id="unknown-in-asha",
    ),
    _line(
        6,
        "  splits: {train: train, valid: valid}",
        "data.splits.valid: unknown name",
        id="unknown-split",
        faults=2,
        at=6,
    ),
    _line(
        14,
        "augment: [{transfrom: HorizontalFlip}]",
        "augment.0.transfrom: unknown name; did you mean 'transform'?",
        id="unknown-in-a-transform",
        faults=2,
    ),
    _line(2, "zoo: 1", "zoo: unknown name; known here: name, task", id="name-near-nothing"),
    _line(
        8,
        "  weights: none",
        "model.backbone: missing; write e.g. backbone: tf_efficientnet_lite0",
        id="backbone-missing",
        at=7,
    ),
    _line(
        4,
        "  on_bad: skip",
        "data: kind is missing; write kind: folders, boxes_csv, lists or masks",
        id="kind-missing",
        at=3,
    ),
    MalformedSpace(
        "name-and-data-missing",
        "model: {backbone: tf_efficientnet_lite0}\n",
        1,
        "name: missing; write e.g. name: my-search",
        2,
    ),
    _line(4, "  kind: folder", "data.kind: 'folder' is unknown; did you mean 'folders'?", id="unknown-kind"),
    _line(
        12,
        "  optimizer: {kind: adamm}",
        "training.optimizer.kind: 'adamm' is unknown; did you mean 'adam'?",
        id="unknown-optimizer",
    ),
)

VALUE_FAULTS = (
    _line(1, "name: my search", "'my search' has characters that do not fit a file name", id="name-with-a-space"),
    _line(1, "name: ../up", "do not fit a file name", id="name-with-a-path"),
    _line(1, "name: ''", "too short", id="empty-name"),
    _line(2, "task: segment", "task: 'segment' is unknown; did you mean 'segmentation'?", id="unknown-task"),
    _dropout("abc", "model.head.dropout: 'abc' is not a number; write e.g. 0.0", id="word-for-a-number"),
    _line(9, '  head: {dropout: "0.1"}', "'0.1' in quotes is text; drop the quotes: 0.1", id="number-in-quotes"),
    _dropout("1.0", "1.0 is too large; write a number below 1", id="dropout-of-one"),
    _dropout("-0.1", "-0.1 is too small; write 0 or more", id="dropout-below-zero"),
    _line(9, "  head: {hidden: 256}", "256 is not a list; write e.g. hidden: [256]", id="number-for-a-list"),
    _line(
        9, "  head: {hidden: [256, 0]}", "model.head.hidden.1: 0 is too small; write 1 or more", id="layer-of-no-units"
    ),
    _line(9, "  head: {batch_norm: yes}", "'yes' is not a truth value; write true or false", id="yes-for-true"),
    _line(9, "  head: {batch_norm: 1}", "1 is not a truth value; write true or false", id="one-for-true"),
    _line(9, "  freeze: 0.5", "0.5 is not a section; write freeze: {depth: 0.5}", id="number-for-a-section"),
    _line(9, "  freeze: {stride: 12}", "12 is unknown; write 4, 8, 16 or 32", id="stride-of-twelve"),
    _line(
        9,
        "  freeze: {depth: 0.5, last_units: 3}",
        "depth and last_units are both written; keep one of them",
        id="two-ways-to-freeze",
    ),
    _line(9, "  weights: imagnet", "is no file; did you mean 'imagenet'?", id="weights-misspelt"),
    _line(9, "  weights_file: x", "does not stand in a space file", id="weights-file-written"),
    _gpus("half", "'half' cannot stand here; write auto or a number", id="half-a-gpu-in-words"),
    _gpus("Auto", "did you mean 'auto'? Write auto or a number", id="auto-with-a-capital"),
    _gpus("true", "true cannot stand here; write auto or a number", id="true-for-gpus"),
    _gpus("-1", "-1 is too small; write 0 or more", id="fewer-gpus-than-none"),
    _gpus("{choice: [0.5, auto]}", "cannot be searched", id="gpus-to-search"),
    _line(11, "  precision: fp16", "'fp16' is unknown; write auto, float32 or half", id="precision-by-another-name"),
    _epochs("8.5", "8.5 is not a whole number; write e.g. 20", id="half-an-epoch"),
    _epochs("true", "true is not a whole number", id="true-for-a-number"),
    _epochs("null", "null is not a whole number", id="null-for-a-number"),
    _epochs("0", "0 is too small; write 1 or more", id="no-epochs"),
    _epochs("8\n  views: 0", "training.views: 0 is too small; write 1 or more", id="no-views", at=12),
    _epochs("8\n  views: all", "training.views: 'all' is not a whole number", id="views-in-words", at=12),
    _epochs("8\n  views: 2.5", "training.views: 2.5 is not a whole number", id="half-a-view", at=12),
    _epochs("{min: 1, max: 5}", "to search it, {range: [low, high]} or {choice: [a, b]}", id="min-and-max"),
    _line(
        11,
        "  warm_up: {epochs: 20}",
        "training.warm_up.epochs: warm_up.epochs is 20, but epochs only 20",
        id="nothing-after-the-warm-up",
    ),
    _line(12, "  optimizer: adam", "'adam' is not a section; write optimizer: {kind: adam}", id="word-for-a-section"),
    _rate("0", "0 is too small; write a number above 0", id="rate-of-zero"),
    _line(
        12,
        "  optimizer: {kind: sgd, momentum: 0.0, nesterov: true}",
        "nesterov needs a momentum above 0",
        id="nesterov-without-momentum",
    ),
    _line(14, "augment: lite", "'lite' cannot stand here; did you mean 'light'?", id="unknown-policy"),
    _line(14, "augment: 3", "3 cannot stand here; write none, light, strong, aerial or", id="number-for-a-policy"),
    _line(
        14, "augment: [light]", "augment.0: 'light' is not a section; write {transform: light}", id="policy-in-a-list"
    ),
    _line(
        6, "  splits: {val: 1.5}", "data.splits.val: 1.5 is too large; write a number below 1", id="fraction-above-one"
    ),
    _line(
        6,
        "  splits: {val: 0.5, test: 0.5}",
        "val and test take 1 of the images together",
        id="nothing-left-to-train-on",
    ),
    _line(
        6,
        "  splits: {val: [valid]}",
        "data.splits.val: a list cannot stand here; write a text or a fraction",
        id="list-for-a-split",
    ),
    _line(
        6,
        "  splits: {val: 0.2, group: {pattern: '(a'}}",
        "data.splits.group.pattern: pattern '(a' is no regular expression: missing ), unterminated subpattern",
        id="pattern-with-an-open-parenthesis",
    ),
    _line(
        6,
        "  splits: {val: 0.2, group: {pattern: a, column: b}}",
        "data.splits.group.pattern: pattern and column are both written; keep one of them",
        id="two-ways-to-group",
    ),
    _line(
        6, "  splits: {val: 0.2, group: {}}", "data.splits.group: group says nothing; write group:", id="empty-group"
    ),
    _line(
        6,
        "  splits: {val: 0.2, group: video}",
        "data.splits.group: 'video' is not a section; write group: {pattern: video}",
        id="word-for-a-group",
    ),
    _line(
        6,
        "  splits: {val: 0.2, group: {patern: a}}",
        "data.splits.group.patern: unknown name; did you mean 'pattern'?",
        id="group-misspelt",
    ),
    _line(
        6,
        "  splits: {val: 0.2, group: {column: video}}",
        "data.splits.group.column: splits.group.column is 'video', but kind folders has no table with named columns",
        id="column-of-no-table",
    ),
    _line(
        4,
        "  kind: boxes_csv\n  synthetic: {fraction: 0}",
        "data.synthetic.fraction: 0 is too small; write a number above 0",
        id="no-synthetic-images",
        at=5,
    ),
    _line(
        4,
        "  kind: boxes_csv\n  synthetic: {labels_except: fish}",
        "data.synthetic.labels_except: 'fish' is not a list; write e.g. labels_except: [fish]",
        id="word-for-a-list-of-classes",
        at=5,
    ),
    _line(
        4,
        "  kind: folders\n  synthetic: {}",
        "data.synthetic: unknown name for kind folders; it belongs to kind boxes_csv",
        id="synthetic-images-without-boxes",
        at=5,
    ),
    _line(15, "search: {metric: accuracy}", "did you mean 'val_accuracy'?", id="unknown-metric"),
    _line(15, "search: {metric: [-parameters]}", "metric begins with -parameters", id="cost-ranks"),
    _line(15, "search: {metric: [val_accuracy, -cost]}", "'-cost' is unknown", id="unknown-cost"),
    _line(15, "search: {metric: [val_accuracy, val_accuracy]}", "names one measure twice", id="measure-twice"),
    _line(15, "search: {sampler: bohp}", "did you mean 'bohb'?", id="unknown-sampler"),
    _line(15, "search: {finals: {top: 0}}", "finals.top", id="no-finalists"),
    _line(15, "folds: 1", "folds", id="one-fold"),
    _line(
        15,
        "search: {trials: 0, hours: -1}",
        "search.trials: 0 is too small; write 1 or more",
        id="empty-budget",
        faults=2,
    ),
    _line(15, "search: 40", "search: 40 is not a section; write search: {trials: 40}", id="number-for-the-search"),
    _line(15, "seed: 3", "seed: does not stand in a space file", id="seed-outside-the-search"),
    _line(15, "cpu_threads: 2", "write search.per_trial.cpus", id="threads-in-a-space"),
    _line(15, "image: {px: 8}", "image.px: 8 is too small; write 16 or more", id="tiny-images"),
    _line(1, 'name: "a\\x1b[31mb"', r"'a\x1b[31mb' has characters", id="escape-code-in-a-name"),
    _line(1, f"name: {'a' * 200}", "aaaa… is too long; write 100 characters or fewer", id="endless-name"),
)

SEARCH_FAULTS = (
    _dropout("{range: [0.5, 0.1]}", "begins at 0.5, above its end 0.1; write {range: [0.1, 0.5]}", id="low-above-high"),
    _dropout("{range: [0.5, 0.5]}", "write the value itself, 0.5", id="low-is-high"),
    _dropout("{range: [0.5]}", "a range has two ends", id="range-of-one-end"),
    _dropout("{range: 0.5}", "a range has two ends", id="range-of-a-number"),
    _dropout(
        "{range: [0.0, 1.0]}",
        "model.head.dropout: the range's upper end 1.0 is too large; write a number below 1",
        id="range-beyond-the-bound",
    ),
    _dropout(
        "{range: [-0.1, 1.5]}",
        "the range's lower end -0.1 is too small; write 0 or more",
        id="range-beyond-both-bounds",
        faults=2,
    ),
    _dropout("{range: [0.6, 3.0]}", "the range's upper end 3.0 is too large", id="range-whose-middle-is-beyond-too"),
    _dropout("{range: [false, true]}", "false is not a number", id="range-of-truth-values"),
    _dropout("{range: ['0.1', 0.5]}", "'0.1' in quotes is text; drop the quotes: 0.1", id="range-in-quotes"),
    _dropout("{range: [0.1, 0.5], step: 0}", "the step 0 leads nowhere", id="step-of-zero"),
    _dropout(
        "{range: [0.1, 0.5], step: 0.6}", "the step 0.6 is longer than the range; write 0.4 at most", id="step-too-long"
    ),
    _dropout("{range: [0.1, 0.5], log: true, step: 0.1}", "log and step exclude each other", id="log-and-step"),
    _dropout("{range: [0.1, 0.5], log: 1}", "log is 1; write true or false", id="log-of-one"),
    _dropout(
        "{range: [0.1, 0.5], default: 0.9}",
        "the default 0.9 is outside the range; write 0.1 to 0.5",
        id="default-outside",
    ),
    _dropout("{range: [0.1, 0.5], step: 0.2, default: 0.2}", "not on the range's steps", id="default-off-the-steps"),
    _dropout(
        "{range: [0.1, 0.5], distribution: log}",
        "distribution is no part of a range; known: range, log, step, default",
        id="unknown-part-of-a-range",
    ),
    _dropout(
        "{range: [0.1, 0.5], choice: [0.1]}", "has a choice and a range; keep one of the two", id="choice-and-range"
    ),
    _rate("{range: [0, 1e-2], log: true}", "a logarithmic range cannot begin at 0", id="log-of-zero"),
    _rate("{range: [-1e-3, 1e-2], log: true}", "a logarithmic range cannot begin at -0.001", id="log-of-a-negative"),
    _epochs(
        "{range: [1.0, 5.0]}",
        "training.epochs: takes whole numbers only; write {range: [1, 5]}",
        id="fractions-for-whole-numbers",
    ),
    _epochs("{range: [1, 9], step: 0.5}", "the step 0.5 is not whole", id="half-steps"),
    _epochs("{choice: []}", "the choice is empty; write {choice: [a, b]}", id="empty-choice"),
    _epochs("{choice: 5}", "the choice 5 is not a list", id="choice-of-a-number"),
    _epochs("{choice: [5, 5]}", "the choice offers 5 twice", id="the-same-twice"),
    _epochs("{choice: [5, 5.0]}", "the choice offers 5.0 (equal to 5) twice", id="equal-numbers"),
    _epochs("{choice: [1, true]}", "the choice offers true (equal to 1) twice", id="one-and-true"),
    _epochs(
        "{choice: [5, x, 0]}", "training.epochs: 'x' is not a whole number", id="choices-of-wrong-values", faults=2
    ),
    _epochs("{choice: [5, 8], default: 6}", "the default 6 is none of the choice", id="default-not-in-the-choice"),
    _epochs(
        "{choice: [5, 8], defualt: 5}", "defualt is no part of a choice; did you mean 'default'?", id="default-misspelt"
    ),
    _line(
        8,
        "  backbone: {range: [1, 3]}",
        "takes no numbers between two others; write {choice: [a, b]}",
        id="range-of-backbones",
    ),
    _line(8, "  backbone: tf_eficientnet_lite0", "tf_efficientnet_lite0", id="unknown-backbone"),
    MalformedSpace(
        "unknown-backbone-in-a-choice",
        _lines(line_8="  backbone:\n    choice:\n      - tf_efficientnet_lite0\n      - mobilenetv3_largee_100"),
        11,
        "mobilenetv3_large_100",
    ),
    _line(9, "  freeze: {last_units: 4000}", "model.freeze.last_units: ", id="freeze-beyond-the-backbone"),
    _line(
        9,
        "  freeze: {last_units: {range: [1, 4000]}}",
        "model.freeze.last_units: ",
        id="freeze-range-beyond-the-backbone",
    ),
    _line(5, "  root: {choice: [a, b]}", "data.root: cannot be searched", id="searched-data"),
    _line(5, "  root: s3://AKIAX:hush@bucket/images", "data.root: root has credentials in it", id="data-with-a-secret"),
    _line(
        5,
        "  root: ftp://host/images",
        "data.root: root 'ftp://host/images' is an address of the kind 'ftp'",
        id="data-by-ftp",
    ),
    _line(
        5, "  root: s3://", "data.root: root 's3://' names no bucket; write s3://BUCKET/PREFIX", id="data-in-no-bucket"
    ),
    _line(
        5,
        "  root: s3://bucket/../images",
        "data.root: root 's3://bucket/../images' has a part",
        id="data-above-a-bucket",
    ),
    _line(1, "name: {choice: [a, b]}", "name: cannot be searched", id="searched-name"),
    _line(15, "search: {trials: {range: [1, 9]}}", "search.trials: cannot be searched", id="searched-budget"),
    _line(
        13,
        "  schedule: {choice: [{kind: plateau}, {kind: one_cycle, rise: {range: [0.1, 2.0]}}]}",
        "training.schedule.rise: the range's upper end 2.0 is too large",
        id="wrong-range-on-a-branch",
    ),
    _line(
        13,
        "  schedule: {choice: [plateau, {kind: one_cycle}]}",
        "'plateau' is not a section; write schedule: {kind: plateau}",
        id="word-among-sections",
    ),
    _line(
        11,
        "  epochs: {range: [2, 40]}\n  warm_up: {epochs: {range: [0, 5]}}",
        "warm_up.epochs is 5, but epochs only 2",
        id="ranges-that-clash",
        at=12,
    ),
    _line(
        9,
        "  freeze: {depth: {choice: [null, 0.5]}, last_units: {choice: [null, 3]}}",
        "keep one of them (when model.freeze.depth is 0.5 and model.freeze.last_units is 3)",
        id="choices-that-clash",
    ),
    _line(5, '  root: "a\\0b"', r"the text 'a\x00b' holds the character \0; remove it", id="nul-in-a-path"),
    _line(
        14,
        "augment: {choice: [none, lite]}",
        "'lite' cannot stand here; did you mean 'light'?",
        id="unknown-policy-in-a-choice",
    ),
    MalformedSpace(
        "several-faults-at-once",
        _lines(
            line_4="  kind: folders\n  on_bad: ignore",
            line_9="  head: {dropout: {range: [0.0, 1.5]}}",
            line_11="  epohs: 8",
            line_12="  optimizer: {kind: adam, lr: '1e-3', weight_decay: -1}",
            line_13="  schedule: {kind: plateau, factor: {choice: [0.1, 10]}}",
            line_15="search: {metric: val_acuracy}",
        ),
        5,
        "data.on_bad: 'ignore' is unknown; write error or skip",
        7,
    ),
)

MALFORMED_SPACES = YAML_FAULTS + NAME_FAULTS + VALUE_FAULTS + SEARCH_FAULTS
