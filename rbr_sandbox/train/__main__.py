"""Trains the shipped sandbox models and writes the shipped data: ``python -m rbr_sandbox.train``.

Deterministic, whatever the number of threads, on Intel processors with AVX-512. The grader is trained in a process of
its own beside the other models. ``--only`` redoes single parts.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rbr.rulebook import load_rulebook
from rbr_sandbox.train.curves import draw_curves
from rbr_sandbox.train.data import write_data
from rbr_sandbox.train.workshop import SEED, STEPS, TrainingRun, write_checksums

# The quarter that comes closest to the over-refusal of the paper's human baseline (Table 4), from the side that favors
# rules less; the model card shows what other strengths do.
ANNOTATOR_BIAS = 0.25
PARTS = ("data", *STEPS)
ENVIRONMENT = {
    # Of MKL: the same order of additions on every such processor and with any number of threads.
    "MKL_CBWR": "AVX512,STRICT",
    # Two processes with two threads each share two cores: a thread that waits must not take one.
    "OMP_WAIT_POLICY": "passive",
}


def main() -> None:
    """Trains the parts asked for and writes curves and checksums beside them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--rulebook", default="rulebook", type=Path)
    parser.add_argument("--output", default="rbr_sandbox/models", type=Path)
    parser.add_argument("--base", default="var/sandbox_training/base", type=Path, help="where the unshipped base goes")
    parser.add_argument("--annotator-bias", default=ANNOTATOR_BIAS, type=float, help="of the human reward model")
    parser.add_argument("--shorten", default=1, type=int, help="divide the steps, to try the script out")
    parser.add_argument("--threads", default=2, type=int, help="of each of the two processes; they change no weight")
    asked = parser.parse_args()
    workshop = TrainingRun(asked.rulebook, asked.output, asked.base, asked.annotator_bias, asked.shorten, asked.threads)
    if "data" in asked.only:
        write_data(SEED, load_rulebook(asked.rulebook))
    os.environ.update(ENVIRONMENT)  # read by the processes that train
    lines = (["grader"], ["policy", "helpful_reward_model", "human_reward_model"])
    wanted = [[part for part in line if part in asked.only] for line in lines]
    with ProcessPoolExecutor(len(lines), mp_context=get_context("spawn")) as pool:
        if "base" in asked.only:
            pool.submit(workshop.train, ["base"]).result()
        list(pool.map(workshop.train, filter(None, wanted)))
    draw_curves(asked.output / "training_curves")
    write_checksums(asked.output)


if __name__ == "__main__":
    main()
