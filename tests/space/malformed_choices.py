"""Spaces with a misspelt name above, beside or within a choice: told once, in the line of the name."""

from tests.space.malformed_spaces import MalformedSpace

TEXT = """\
name: shapes
data: {{kind: folders, root: images, splits: {{train: train, val: valid}}}}
model: {{backbone: tf_efficientnet_lite0, weights: none}}
training:
  epochs: 8
  {schedule}:
    choice:
      - {{kind: plateau, {factor}: {{choice: [0.1, 0.3]}}, patience_epochs: 1}}
      - {{kind: one_cycle, rise: {{range: [0.1, 0.5]}}}}
  optimizer:
    {choice}:
      sgd: {{kind: sgd, lr: 0.1}}
      adam: {{kind: adam, lr: {{range: [1e-4, 1e-2], log: true}}}}
{augment}:
  choice:
    - none
    - [{{transform: HorizontalFlip}}]
"""


def _made(**written: str) -> str:
    names = {"schedule": "schedule", "factor": "factor", "choice": "choice", "augment": "augment"}
    return TEXT.format(**(names | written))


GOOD_CHOICES = _made()
CHOICE_FAULTS = (
    MalformedSpace(
        "misspelt-above-a-choice-of-sections",
        _made(schedule="shedule"),
        6,
        "training.shedule: unknown name; did you mean 'schedule'?",
    ),
    MalformedSpace(
        "misspelt-above-a-choice-of-lists", _made(augment="augmnt"), 14, "augmnt: unknown name; did you mean 'augment'?"
    ),
    MalformedSpace(
        "misspelt-within-a-choice", _made(factor="facter"), 8, "training.schedule.facter: unknown name; did you mean"
    ),
    MalformedSpace(
        "misspelt-above-and-within-a-choice",
        _made(schedule="shedule", factor="facter"),
        6,
        "training.shedule: unknown name; did you mean 'schedule'?",
    ),
    MalformedSpace("a-name-of-elsewhere-above-a-choice", _made(schedule="batch"), 6, "training.batch: unknown"),
)
