"""Data larger than memory: sources that are read block by block."""

from .block import Block
from .columns import Columns
from .opening import is_source, open_source
from .source import Source

__all__ = ["Block", "Columns", "Source", "is_source", "open_source"]
