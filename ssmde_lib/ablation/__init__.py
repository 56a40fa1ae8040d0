"""The ablation: the contribution of each component of SS-MDE.

Variants hold the differences to the base network, a grid the variants of each world, records the results.
"""

from ssmde_lib.ablation.grid import Grid, Job
from ssmde_lib.ablation.held_out import held_out_records, measure_held_out
from ssmde_lib.ablation.page import results_page
from ssmde_lib.ablation.records import cost, paired, read_records, summarise
from ssmde_lib.ablation.run import export_weights, prepare_data, prepare_prior, prepare_pseudo, publish, run_variant
from ssmde_lib.ablation.tables import schedule_grid, schedule_table, student_table, table
from ssmde_lib.ablation.variants import MAP, PRIOR, QUALITIES, VARIANTS, Variant

__all__ = [
    "MAP",
    "PRIOR",
    "QUALITIES",
    "VARIANTS",
    "Grid",
    "Job",
    "Variant",
    "cost",
    "export_weights",
    "held_out_records",
    "measure_held_out",
    "paired",
    "prepare_data",
    "prepare_prior",
    "prepare_pseudo",
    "publish",
    "read_records",
    "results_page",
    "run_variant",
    "schedule_grid",
    "schedule_table",
    "student_table",
    "summarise",
    "table",
]  # fmt: skip
