"""Where images come from: one file for every data source."""

from datasets.sources.find import ROOT, SOURCES, data_path, find_splits, hold_out

__all__ = ["ROOT", "SOURCES", "data_path", "find_splits", "hold_out"]
