"""The schema of a config: sections, keys, ranges, and the errors of those who get them wrong."""

from configs.schema.config import Config, Override, Sampler, dump, find, from_values, load
from configs.schema.problems import ConfigError, Problem

__all__ = [
    "Config",
    "ConfigError",
    "Override",
    "Problem",
    "Sampler",
    "dump",
    "find",
    "from_values",
    "load",
]
