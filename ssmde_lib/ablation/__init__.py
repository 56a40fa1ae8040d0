"""The ablation: which parts of SS-MDE bring what. Rows say what differs, a grid which rows run on which worlds, records what came out."""

from ssmde_lib.ablation.fresh import fresh_records, measure_afresh
from ssmde_lib.ablation.grid import Grid, Job
from ssmde_lib.ablation.records import (
    cost,
    forgetting_table,
    paired,
    read_records,
    student_table,
    summarise,
    table,
    when_to_forget,
)
from ssmde_lib.ablation.rows import MAP, PRIOR, QUALITIES, ROWS, Row
from ssmde_lib.ablation.run import adopt, prepare_data, prepare_prior, prepare_pseudo, publish, run_row, ship

__all__ = [
    "MAP", "PRIOR", "QUALITIES", "ROWS", "Grid", "Job", "Row", "adopt", "cost", "forgetting_table", "fresh_records", "measure_afresh", "paired", "prepare_data", "prepare_prior", "prepare_pseudo", "publish",
    "read_records", "run_row", "ship", "student_table", "summarise", "table", "when_to_forget",
]  # fmt: skip
