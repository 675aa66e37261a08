"""In which numbers and in which order in memory a network computes: what a short probe on this GPU finds fastest.

On CPUs nothing is probed: `auto` is full precision there, so that a score depends on the config and never on a
stopwatch (docs/decisions/0013).
"""

import copy
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tune_cnn.sections.training import PrecisionName
from tune_cnn.training.micro_batches import Inputs, is_out_of_memory

CLEARLY = 1.15
"""How much faster something has to be than what it would replace: less may be chance."""
_ROUNDS = 5
_STEPS = 3
_MOST_IMAGES = 64
