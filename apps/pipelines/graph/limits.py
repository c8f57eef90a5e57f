"""What a graph may have at most. `docs/pipelines.md` states each to users."""

MAX_TASKS = 4_000
MAX_NEEDS = 20_000
MAX_GRAPH_BYTES = 1024 * 1024
MAX_VALUES = 200_000  # of all kinds, within a document
MAX_ITEMS = 1_000  # of a for_each
MAX_TASK_ROWS = 10_000  # of a run, items counted
MAX_ITEM_OUTPUTS_BYTES = 1024 * 1024  # of a for_each, altogether
MAX_PARALLELISM = 1_000
DEFAULT_PARALLELISM = 32
MAX_RETRIES = 10
MAX_FREE_RETRIES = 5
MAX_RUN_RETRIES = 1_000
MAX_MEMORY_FACTOR = 4
LONGEST_SECONDS = 2**31 - 1  # of Kubernetes' activeDeadlineSeconds
MAX_PROBLEMS = 50  # told at a time
