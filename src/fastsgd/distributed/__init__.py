"""Training in rounds on shards of the rows, whatever runs them: processes, a Dask cluster."""

from .rounds import Common, Part, Plan, combine, finish
from .shards import Shard, ShardSummary, summary_of
from .steps import shard_step

__all__ = [
    "Common",
    "Part",
    "Plan",
    "Shard",
    "ShardSummary",
    "combine",
    "finish",
    "shard_step",
    "summary_of",
]
