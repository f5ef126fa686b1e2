"""The generator's process with a sampler that loads no torch."""

from __future__ import annotations

import argparse
import functools

from offline.alignment.generator import add_flags, run_generator
from tests.offline.alignment.tiny_models import TinySampler

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay-s", type=float, required=True)
    add_flags(parser)
    flags = parser.parse_args()
    run_generator(flags, functools.partial(TinySampler, flags.delay_s))
