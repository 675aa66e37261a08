"""The training loop: phases, epochs, steps, in the order they run. Knows neither tasks nor Ray nor files of a run."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, optim

from tune_cnn.errors import DivergedError
from tune_cnn.models.network import Network
from tune_cnn.models.saved import cpu_copy
from tune_cnn.results.records import EpochRecord
from tune_cnn.results.scores import Counts
from tune_cnn.sections.training import TrainingConfig
from tune_cnn.training.batches import Augment, Batches, seed_of
from tune_cnn.training.checkpoint import Checkpoint, restore
from tune_cnn.training.feed import FeatureUse, Feed
from tune_cnn.training.objective import Counter, Objective
from tune_cnn.training.plan import EarlyStopping, Phase, phase_at, plan_phases, train_phase
from tune_cnn.training.schedule import LearningRate, build_optimizer, parameter_groups


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
    train: Batches
    val: Batches
    augment: Augment | None
    objective: Objective
    config: TrainingConfig
    seed: int
    score_of: Callable[[Mapping[str, float]], float]
    """From an epoch's scores to what is ranked; higher is better."""
    stops_itself: bool = True
    """Whether its patience ends the training proper; one fold of several goes on until their mean ends all."""
    features: FeatureUse | None = None
    """Where to cache what the frozen units give; None runs them in every epoch."""
    on_phase: Callable[["Training"], None] = _nobody_watches
    """Told when a phase begins, before its first step; of a resumed one too, before its state is put back."""
    history: list[EpochRecord] = field(default_factory=list)
    optimizer: optim.Optimizer = field(init=False)
    learning_rate: LearningRate = field(init=False)
    phase: Phase = field(init=False)
    feed: Feed = field(init=False)
    """What the network, or what is trained of it, is fed with in this phase."""
    stopping: EarlyStopping = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    """Keeps small gradients of half precision from vanishing; idle where full precision or bfloat16 is used."""

    def __post_init__(self) -> None:
        self.stopping = EarlyStopping(self.config.stop_patience_epochs)
        self.scaler = torch.amp.GradScaler(self.train.device.type, enabled=self._amp_dtype is torch.float16)
        self.begin(plan_phases(self.config)[0])

    @property
    def _amp_dtype(self) -> torch.dtype | None:
        return amp_dtype_on(self.train.device) if self.config.amp else None

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
            model=cpu_copy(self.model),
            optimizer=self.optimizer.state_dict(),
            schedule=self.learning_rate.state(),
            stopping=self.stopping.state(),
            phase={"name": self.phase.name, "first_epoch": self.phase.first_epoch},
            history=[record.as_json() for record in self.history],
            scaler=self.scaler.state_dict(),
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on after the epoch of `checkpoint`, as if nothing had happened."""
        self.begin(phase_at(self.config, **checkpoint.phase))
        restore(checkpoint, self.model, self.optimizer)
        self.feed = Feed(self.model, self.val, self.features)
        self.learning_rate.restore(dict(checkpoint.schedule))
        self.stopping.restore(checkpoint.stopping)
        if checkpoint.scaler:  # an idle one has no state, and a waking one takes none from it
            self.scaler.load_state_dict(dict(checkpoint.scaler))
        self.history = [EpochRecord.from_json(record) for record in checkpoint.history]

    def begin(self, phase: Phase) -> None:
        """Freeze what the phase freezes, and give what is left an optimiser and a schedule of its own."""
        self.phase = phase
        self.model.freeze_to(len(self.model.units) if phase.backbone_frozen else self.frozen_units)
        groups = parameter_groups(
            self.model.trainable_parts(), lr=phase.lr, layer_decay=self.config.optimizer.layer_decay
        )
        self.optimizer = build_optimizer(self.config.optimizer, groups)
        self.learning_rate = LearningRate(
            phase.schedule, self.optimizer, epochs=phase.epochs, steps_per_epoch=len(self.train)
        )
        self.stopping.begin(phase.stop_patience_epochs)
        self.feed = Feed(self.model, self.val, self.features)
        self.on_phase(self)

    def _epoch(self, epoch: int) -> Epoch:
        started = time.perf_counter()
        # Dropout draws from torch's global generator: seeding it here makes an epoch depend on (seed, epoch) alone.
        torch.manual_seed(seed_of("epoch", self.seed, epoch))
        lr = self.learning_rate.lr
        train_scores = self._train_pass(epoch)
        fed = self.feed.of(self.val)
        began = time.perf_counter()
        val = evaluate(fed.network, fed.batches, self.objective)
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
        )
        self.history.append(record)
        return Epoch(record, val.confusion(), is_best)

    def _train_pass(self, epoch: int) -> dict[str, float]:
        fed = self.feed.of(self.train)
        fed.network.train()  # frozen units stay in eval mode: the network sees to it
        counter = self.objective.counter(self.train.device)
        loss_function = self.objective.train_loss.to(self.train.device)
        for inputs, labels in fed.batches.shuffled(self.seed, epoch, self.augment):
            self.optimizer.zero_grad(set_to_none=True)
            with autocast(self.train.device, self._amp_dtype):
                logits: Tensor = fed.network(inputs)
                loss: Tensor = loss_function(logits, labels)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.learning_rate.after_step()
            counter.add(logits, labels, loss)
        return counter.scores()


@torch.inference_mode()
def evaluate(model: Network, batches: Batches, objective: Objective) -> Counter:
    """Run a split through the model in eval mode and count. Leaves the model in eval mode.

    Always in full precision: what a trial reports is what the saved model gives again.
    """
    model.eval()
    counter = objective.counter(batches.device)
    for inputs, labels in batches.in_order():
        logits = model(inputs)
        counter.add(logits, labels, objective.val_loss(logits, labels))
    return counter


def amp_dtype_on(device: torch.device) -> torch.dtype | None:
    """Give what mixed precision computes in; None on a CPU, where it does not."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


@contextmanager
def autocast(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """Compute in `dtype` where that is safe; None computes in full precision."""
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        yield
