"""The training loop: phases, epochs, steps, in the order they run. Knows neither tasks nor Ray nor files of a run."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, optim

from tune_cnn import progress
from tune_cnn.errors import DivergedError
from tune_cnn.models.network import Inputs, Network
from tune_cnn.results.records import EpochRecord
from tune_cnn.results.scores import Counts
from tune_cnn.sections.training import TrainingConfig
from tune_cnn.seeds import seed_of
from tune_cnn.training.batches import Batches, TrainBatches
from tune_cnn.training.checkpoint import Checkpoint, frozen_digest, moving_state, restore
from tune_cnn.training.feed import FeatureUse, Feeds
from tune_cnn.training.micro_batches import MicroBatches, split
from tune_cnn.training.objective import Counter, Objective
from tune_cnn.training.plan import EarlyStopping, Phase, phase_at, plan_phases, train_phase
from tune_cnn.training.precision import FULL, Precision
from tune_cnn.training.residence import Residence
from tune_cnn.training.schedule import LearningRate, build_optimizer, parameter_groups
from tune_cnn.training.step import TrainStep


@dataclass(frozen=True)
class Epoch:
    """What an epoch leaves: its record, the validation counts, and whether it is the best so far."""

    record: EpochRecord
    val_confusion: Counts
    is_best: bool


def _nobody_watches(_training: "Training") -> None:
    """Take in that a phase begins and do nothing."""


@dataclass
class Training:
    """One training run: call `epochs()` and take them as they come.

    The model is left as it was after the last epoch; the caller keeps the best one when `Epoch.is_best` says so.
    """

    model: Network
    frozen_units: int
    """How many units stand still once the warm-up is over."""
    train: TrainBatches
    val: Batches
    objective: Objective
    config: TrainingConfig
    seed: int
    score_of: Callable[[Mapping[str, float]], float]
    """From an epoch's scores to what is ranked; higher is better."""
    stops_itself: bool = True
    """Whether its patience ends the training proper; one fold of several goes on until their mean ends all."""
    precision: Precision = FULL
    """Of training; scores are had in full precision."""
    features: FeatureUse | None = None
    """Where to cache what the frozen units give; None runs them in every epoch."""
    on_phase: Callable[["Training"], None] = _nobody_watches
    """Told when a phase begins, before its first step; of a resumed one too, before its state is put back."""
    history: list[EpochRecord] = field(default_factory=list)
    optimizer: optim.Optimizer = field(init=False)
    learning_rate: LearningRate = field(init=False)
    phase: Phase = field(init=False)
    feeds: Feeds = field(init=False)
    """What the network, or what trains of it, is fed with in this phase."""
    stopping: EarlyStopping = field(init=False)
    step: TrainStep = field(init=False)
    _frozen_sha256: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.stopping = EarlyStopping(self.config.stop_patience_epochs)
        self.precision.place(self.model)
        self.step = TrainStep(self.objective.train_loss, self.precision, self.train.device)
        self._validation = MicroBatches(purpose="validation")
        self._train_rows, self._val_rows = Residence(), Residence()
        self.begin(plan_phases(self.config)[0])

    def epochs(self) -> Iterator[Epoch]:
        """Train and yield epoch by epoch, from the first or from where `resume` left off.

        Raises:
            DivergedError: a training or validation loss is no longer finite; the epochs before it stand.
        """
        while True:
            ends = self.stopping.exhausted and (self.stops_itself or self.phase.is_warm_up)
            over = len(self.history) >= self.phase.last_epoch or ends
            if over and not self.phase.is_warm_up:
                return
            if over:
                self.begin(train_phase(self.config, len(self.history) + 1))
            yield self._epoch(len(self.history) + 1)

    def checkpoint(self) -> Checkpoint:
        """Give the whole state after the last epoch."""
        return Checkpoint(
            epoch=len(self.history),
            model=moving_state(self.model),
            frozen_units=self.model.frozen_units,
            frozen_sha256=self._frozen_sha256,
            optimizer=self.optimizer.state_dict(),
            schedule=self.learning_rate.state(),
            stopping=self.stopping.state(),
            phase={"name": self.phase.name, "first_epoch": self.phase.first_epoch},
            history=[record.as_json() for record in self.history],
            step=self.step.state(),
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on after the epoch of `checkpoint`, as if nothing had happened."""
        self.step.restore(checkpoint.step)
        self.step.precision.place(self.model)
        self.begin(phase_at(self.config, **checkpoint.phase))
        restore(checkpoint, self.model, self.optimizer)
        self.learning_rate.restore(dict(checkpoint.schedule))
        self.stopping.restore(checkpoint.stopping)
        self.history = [EpochRecord.from_json(record) for record in checkpoint.history]

    def begin(self, phase: Phase) -> None:
        """Freeze what the phase freezes, and give what is left an optimiser and a schedule of its own."""
        self.phase = phase
        self.model.freeze_to(len(self.model.units) if phase.backbone_frozen else self.frozen_units)
        self._frozen_sha256 = frozen_digest(self.model, self.model.frozen_units)  # it stands still: once is enough
        groups = parameter_groups(
            self.model.trainable_parts(), lr=phase.lr, layer_decay=self.config.optimizer.layer_decay
        )
        self.optimizer = build_optimizer(self.config.optimizer, groups)
        self.learning_rate = LearningRate(
            phase.schedule, self.optimizer, epochs=phase.epochs, steps_per_epoch=len(self.train)
        )
        self.stopping.begin(phase.stop_patience_epochs)
        self.feeds = Feeds.of(self.model, self.val, self.features, self.step.precision)
        self.on_phase(self)

    def _epoch(self, epoch: int) -> Epoch:
        started = time.perf_counter()
        # Dropout draws from torch's global generator: seeding it here makes an epoch depend on (seed, epoch) alone.
        torch.manual_seed(seed_of("epoch", self.seed, epoch))
        lr = self.learning_rate.lr
        train_scores = self._train_pass(epoch)
        fed = self.feeds.val.of(self.val)
        batches = self._val_rows.of(fed.batches)
        began = time.perf_counter()
        val = evaluate(fed.network, batches, self.objective, self._validation)
        scores = {f"train_{name}": value for name, value in train_scores.items()}
        scores |= {f"val_{name}": value for name, value in val.scores().items()}
        per_image = (time.perf_counter() - began) / len(self.val.labels) + fed.spared_seconds
        if not math.isfinite(scores["train_loss"]) or not math.isfinite(scores["val_loss"]):
            raise DivergedError(
                f"epoch {epoch}: train_loss {scores['train_loss']:g}, val_loss {scores['val_loss']:g} "
                f"at learning rate {lr:g}; a lower training.optimizer.lr keeps the loss finite"
            )
        score = self.score_of(scores)
        self.learning_rate.after_epoch(val_loss=scores["val_loss"], score=score)
        is_best = self.stopping.update(epoch, score)
        seconds = round(time.perf_counter() - started, 4)
        record = EpochRecord(
            epoch=epoch,
            phase=self.phase.name,
            seconds=seconds,
            lr=lr,
            frozen_units=self.model.frozen_units,
            score=score,
            scores=scores,
            ms_per_image=round(1000 * per_image, 4),
            micro_batch_size=self.step.micro.size,
        )
        self.history.append(record)
        return Epoch(record, val.confusion(), is_best)

    def _train_pass(self, epoch: int) -> dict[str, float]:
        fed = self.feeds.train.of(self.train.of(epoch))
        fed.network.train()  # frozen units stay in eval mode: the network sees to it
        self.step.begin(fed.network, self.optimizer)
        counter = self.objective.counter(self.train.device)
        for inputs, targets in self._train_rows.of(fed.batches).shuffled(self.seed, epoch):
            predicted, loss = self.step(inputs, targets)
            self.learning_rate.after_step()
            progress.step()
            counter.add(predicted, targets, loss)
        return counter.scores()


@torch.inference_mode()
def evaluate(model: Network, batches: Batches, objective: Objective, micro: MicroBatches | None = None) -> Counter:
    """Run a split through the model in eval mode and count. Leaves the model in eval mode.

    Always in full precision: what a trial reports is what the saved model gives again.

    Args:
        model: asked about the images.
        batches: the split.
        objective: what is counted.
        micro: remembers, from one call to the next, of how many images at once memory has run out; None begins anew.

    Raises:
        TrialError: memory does not suffice for a single image.
    """
    model.eval()
    counter = objective.counter(batches.device)
    micro = micro or MicroBatches(purpose="validation")
    for inputs, targets in batches.in_order():
        for answer in micro.fit(len(targets), partial(_answers, model, objective, inputs, targets)):
            counter.add(*answer)
    return counter


def _answers(
    model: Network, objective: Objective, inputs: Inputs, targets: Tensor, parts: int
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Give predicted and true class ids and the mean loss of each part of a batch."""
    found = []
    for piece, truth in zip(split(inputs, parts), targets.tensor_split(parts), strict=True):
        logits: Tensor = model(piece)
        found.append((logits.argmax(dim=1), truth, objective.val_loss(logits, truth)))
    return found
