"""A search as a competent user of Ray Tune writes it: what tune-cnn is measured against. Uses nothing of tune-cnn.

Images are decoded with OpenCV and augmented with albumentations in a Dataset behind a DataLoader; frozen parameters
take no gradient (so that autograd skips them) and frozen BatchNorm stays in eval mode; OptunaSearch proposes, ASHA
stops, and `reuse_actors` is left at its default. For the benchmark the list of configurations is given (they are tried
in its order, through `points_to_evaluate`) and early stopping is off, so that both programs do the same work.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
import ray
import timm
import torch
from albumentations.pytorch import ToTensorV2
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search.optuna import OptunaSearch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

cv2.setNumThreads(0)  # trials share the cores

SPACE = {
    "backbone": tune.choice(["tf_efficientnet_lite0", "mobilenetv3_large_100", "test_efficientnet"]),
    "frozen_units": tune.randint(0, 23),
    "dropout": tune.uniform(0.0, 0.5),
    "lr": tune.loguniform(1e-5, 1e-2),
}
METRIC = "val_accuracy"
Sample = tuple[Tensor, int]


class Images(Dataset[Sample]):
    """Images of one split, a folder per class."""

    def __init__(self, folder: Path, transform: albumentations.Compose) -> None:
        self.classes = sorted(place.name for place in folder.iterdir() if place.is_dir())
        self._files = [(file, k) for k, name in enumerate(self.classes) for file in sorted((folder / name).iterdir())]
        self._transform = transform

    def __len__(self) -> int:
        """Count the images."""
        return len(self._files)

    def __getitem__(self, place: int) -> Sample:
        """Decode, fit and augment one image: (3, px, px), normalised, and its class."""
        file, label = self._files[place]
        image = cv2.imread(str(file))
        assert image is not None, file  # noqa: S101 - OpenCV raises nothing
        return self._transform(image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB))["image"], label


def transform(px: int, model: nn.Module, *, augmented: bool) -> albumentations.Compose:
    """Fit an image into a square on black, vary it lightly if asked, and normalise it as the model wants it."""
    settings: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    fit = [albumentations.LongestMaxSize(px), albumentations.PadIfNeeded(px, px, border_mode=cv2.BORDER_CONSTANT)]
    light = [
        albumentations.HorizontalFlip(p=0.5),
        albumentations.Affine(scale=(0.9, 1.1), translate_percent=(-0.06, 0.06), rotate=(-10, 10), p=0.7),
        albumentations.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=0.5),
    ]
    end = [albumentations.Normalize(settings["mean"], settings["std"]), ToTensorV2()]
    return albumentations.Compose([*fit, *(light if augmented else []), *end])


def build_model(config: dict[str, Any], classes: int) -> nn.Module:
    """Make timm's network with new classes; its weights come from the file in `weights`, or are random."""
    file = config["weights"].get(config["backbone"])
    overlay = {"file": file} if file else None
    model: nn.Module = timm.create_model(
        config["backbone"],
        pretrained=file is not None,
        pretrained_cfg_overlay=overlay,
        num_classes=classes,
        drop_rate=config["dropout"],
    )
    # timm begins a classifier with weights some ten times larger, from which it learns slower: both programs shall
    # train the same thing, so that their scores can be compared.
    model.get_submodule("classifier").reset_parameters()  # type: ignore[operator]
    return model


def units_of(module: nn.Module) -> list[nn.Module]:
    """Give a network's layers and blocks in the order they run."""
    children = (units_of(each) if type(each) is nn.Sequential else [each] for each in module.children())
    return [unit for group in children for unit in group]


def train_mode(model: nn.Module, frozen: Sequence[nn.Module]) -> None:
    """Put a model into training mode, but leave the running statistics of what is frozen alone."""
    model.train()
    for unit in frozen:
        unit.eval()


def train_epoch(
    model: nn.Module, batches: DataLoader[Sample], optimizer: torch.optim.Optimizer, device: torch.device
) -> None:
    """Take one step per batch; on a GPU in half precision."""
    for images, labels in batches:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(images.to(device, non_blocking=True))
            loss = nn.functional.cross_entropy(logits, labels.to(device, non_blocking=True))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@torch.inference_mode()
def accuracy(model: nn.Module, batches: DataLoader[Sample], device: torch.device) -> float:
    """Give the share of images whose class is found."""
    model.eval()
    right = total = 0
    for images, labels in batches:
        right += int((model(images.to(device)).argmax(1).cpu() == labels).sum())
        total += len(labels)
    return right / total


def train_trial(config: dict[str, Any]) -> None:
    """Train one configuration, and report every epoch; the best epoch's weights go with its report."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config["seed"])
    np.random.seed(config["seed"])
    data = Path(config["data"])
    model = build_model(config, classes=sum(place.is_dir() for place in (data / "train").iterdir())).to(device)
    frozen = units_of(model)[: config["frozen_units"]]
    for unit in frozen:
        unit.requires_grad_(requires_grad=False)
    workers = {"num_workers": config["workers"], "persistent_workers": config["workers"] > 0}
    train, val = (
        DataLoader(
            Images(data / split, transform(config["px"], model, augmented=augmented)),
            batch_size=config["batch_size"],
            shuffle=augmented,
            pin_memory=device.type == "cuda",
            **workers,
        )
        for split, augmented in (("train", True), ("valid", False))
    )
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=config["lr"])
    best = -1.0
    for epoch in range(1, config["epochs"] + 1):
        began = time.time()
        train_mode(model, frozen)
        train_epoch(model, train, optimizer, device)
        score = accuracy(model, val, device)
        report = {"epoch": epoch, METRIC: score, "began": began, "ended": time.time()}
        if score <= best:
            tune.report(report)
            continue
        best = score
        with tempfile.TemporaryDirectory() as folder:
            torch.save(model.state_dict(), Path(folder) / "model.pt")
            tune.report(report, checkpoint=tune.Checkpoint.from_directory(folder))


def search(configs: Sequence[dict[str, Any]], fixed: dict[str, Any], args: argparse.Namespace) -> tune.ResultGrid:
    """Try the configurations of a list, in its order."""
    scheduler = ASHAScheduler(time_attr="epoch", grace_period=3, reduction_factor=3) if args.stop_early else None
    tuner = tune.Tuner(
        tune.with_resources(train_trial, {"cpu": args.cpus_per_trial, "gpu": args.gpus_per_trial}),
        param_space={**SPACE, **fixed},
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            search_alg=OptunaSearch(points_to_evaluate=list(configs), seed=fixed["seed"]),
            scheduler=scheduler or FIFOScheduler(),
            num_samples=len(configs),
            max_concurrent_trials=args.concurrent,
        ),
        run_config=tune.RunConfig(
            name="plain", storage_path=str(args.out), checkpoint_config=tune.CheckpointConfig(num_to_keep=1)
        ),
    )
    return tuner.fit()


def write_records(results: tune.ResultGrid, file: Path) -> None:
    """Write, per configuration, the epochs in order: their number, score, and when they began and ended."""
    columns = ["epoch", METRIC, "began", "ended"]
    records = [
        {"config": result.config, "epochs": result.metrics_dataframe[columns].to_dict("records")} for result in results
    ]
    file.write_text(json.dumps(records, indent=1))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="train/CLASS/*.jpg and valid/CLASS/*.jpg")
    parser.add_argument("--configs", type=Path, required=True, help="a JSON list of values of the space")
    parser.add_argument("--weights", type=json.loads, default={}, help="a JSON object, backbone to safetensors file")
    parser.add_argument("--out", type=Path, required=True, help="for Ray's files and records.json")
    parser.add_argument("--stop-early", action="store_true", help="with ASHA")
    for name, kind, default in (
        ("px", int, 128),
        ("epochs", int, 12),
        ("batch-size", int, 32),
        ("workers", int, 0),
        ("seed", int, 0),
        ("cpus-per-trial", float, 1),
        ("gpus-per-trial", float, 0),
        ("concurrent", int, 2),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default)
    return parser.parse_args()


def main(read: Callable[[], argparse.Namespace] = arguments) -> None:
    """Search, and leave records.json."""
    args = read()
    fixed = {
        "data": str(args.data.absolute()),
        "weights": args.weights,
        **{name: getattr(args, name) for name in ("px", "epochs", "batch_size", "workers", "seed")},
    }
    args.out = args.out.absolute()
    ray.init(address="local", include_dashboard=False)  # never join another Ray on this host
    write_records(search(json.loads(args.configs.read_text()), fixed, args), args.out / "records.json")


if __name__ == "__main__":
    main()
