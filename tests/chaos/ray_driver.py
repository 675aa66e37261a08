"""The command line with real Ray, whose workers run stub trials: `python -m tests.chaos.ray_driver search …`."""

import os
from functools import partial

from tests.chaos import stub_trial
from tune_cnn import cli
from tune_cnn.search import runner  # noqa: F401  # sets Ray's variables: before ray is imported

import ray  # isort: skip


def main() -> None:
    """Run the command line."""
    told = {name: os.environ[name] for name in (stub_trial.TRAINED, stub_trial.EPOCH_SECONDS)}
    hook = f"{stub_trial.__name__}.{stub_trial.install.__name__}"
    # Workers inherit the environment of their node, which is older than this search.
    ray.init = partial(ray.init, runtime_env={"worker_process_setup_hook": hook, "env_vars": told})
    cli.main()


if __name__ == "__main__":
    main()
