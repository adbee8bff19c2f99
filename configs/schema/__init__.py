"""The schema of a config: sections, keys, ranges, and the errors of those who get them wrong."""

from configs.schema.config import Config, Sampler, dump
from configs.schema.problems import ConfigError, Problem
from configs.schema.resolve import Override, find, from_values, load
