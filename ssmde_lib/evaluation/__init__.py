"""Measuring: one evaluator, a protocol per benchmark, results with intervals, trivial baselines, camera motion."""

from ssmde_lib.evaluation.baselines import constant, training_median
from ssmde_lib.evaluation.evaluator import Sample, evaluate, evaluate_clips, evaluate_image
from ssmde_lib.evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from ssmde_lib.evaluation.results import Results, comparison_table, paired_difference

__all__ = [
    "PROTOCOLS",
    "Protocol",
    "Results",
    "Sample",
    "comparison_table",
    "constant",
    "evaluate",
    "evaluate_clips",
    "evaluate_image",
    "get_protocol",
    "paired_difference",
    "training_median",
]
