"""The commands of ``fastsgd`` and ``python -m fastsgd``: a module a command, on top of all else.

Each has ``fill``, which gives a parser its arguments, and ``run``, which takes their values and
returns an exit status. Both are imported when the command is asked for.
"""
