"""The command line with real Ray, whose workers run stub trials: `python -m tests.chaos.ray_driver search …`."""

from functools import partial

from tests.chaos import stub_trial
from tune_cnn import cli
from tune_cnn.search import runner  # noqa: F401  # sets Ray's variables: before ray is imported

import ray  # isort: skip


def main() -> None:
    """Run the command line."""
    hook = {"worker_process_setup_hook": f"{stub_trial.__name__}.{stub_trial.install.__name__}"}
    ray.init = partial(ray.init, runtime_env=hook)
    cli.main()


if __name__ == "__main__":
    main()
