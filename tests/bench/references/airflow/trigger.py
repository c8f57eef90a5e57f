"""`python trigger.py <dag> <count>`: so many manual runs of a DAG, in an environment without Cube."""

import sys
from datetime import UTC, datetime, timedelta

from airflow.api.common.trigger_dag import trigger_dag
from airflow.utils.types import DagRunTriggeredByType

dag, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    trigger_dag(dag, run_id=f"r{number}", logical_date=at, triggered_by=DagRunTriggeredByType.CLI)
