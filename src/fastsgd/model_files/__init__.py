"""Files of models: one safetensors file for an estimator, of numbers and text alone.

:mod:`.container` reads and writes a file; :mod:`.encoding` makes a description in JSON of values,
with their arrays beside it, and :mod:`.decoding` values of a description; :mod:`.records` has the
fixed table of the library's own objects that may be in a file; :mod:`.checkpoint` keeps files in a
folder. What an estimator consists of is known to :mod:`fastsgd.estimators.model_parts`.
"""
