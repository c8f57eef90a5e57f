"""DAGs of tasks that do nothing: every minute, wide, chains. Read in an environment without Cube."""

import os
from datetime import UTC, datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

NAMES = ("COUNT", "FILLED", "WIDE", "CHAIN")
COUNT, FILLED, WIDE, CHAIN = (int(os.environ.get(f"REFERENCE_{name}", "0")) for name in NAMES)
START = datetime(2026, 1, 1, tzinfo=UTC)

for number in range(COUNT):
    with DAG(f"s{number}", schedule="* * * * *", start_date=START, catchup=False) as dag:
        EmptyOperator(task_id="only")
    globals()[f"s{number}"] = dag

if FILLED:
    with DAG("filled", schedule="* * * * *", start_date=START, catchup=False) as filled:
        EmptyOperator(task_id="only")

if WIDE:
    with DAG("wide", schedule=None, start_date=START, max_active_tasks=500) as wide:
        first, last = EmptyOperator(task_id="first"), EmptyOperator(task_id="last")
        first >> [EmptyOperator(task_id=f"m{number}") for number in range(WIDE - 2)] >> last

if CHAIN:
    with DAG("chain", schedule=None, start_date=START, max_active_runs=100) as chain:
        before = None
        for number in range(CHAIN):
            task = EmptyOperator(task_id=f"t{number}")
            if before is not None:
                before >> task
            before = task
