"""What keeps Ray quiet and Tune out of our way. To be imported before Ray, by the driver and by its workers."""

import os

# Ray reads these when it is imported.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A paragraph for each dead worker is printed even where no logs are asked for; we say it in a line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    # Idle workers for all cores, while trials have theirs; and where a machine has so much to do that these do not come
    # up within a minute, the driver would wait for them for ever, with no ear for Ctrl-C (ray#40131).
    "RAY_prestart_worker_first_driver": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # its CSV, JSON and TensorBoard files are a second, worse truth
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that ends without an epoch must not end the search
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",  # a slow thread of a stopped trial would fail the next one on its worker
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt ends the driver at once: each last epoch is on disk
    "RAY_AIR_NEW_OUTPUT": "0",
}
os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
