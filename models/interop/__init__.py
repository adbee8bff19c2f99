"""Weights of other programs, one file for each family; `files.py` finds out which it is.

Only names change, and 1x1 convolutions become dense layers; no number does, but the sign of
torchcfm's last layer, whose velocity points the other way.
"""

from models.interop.files import read
from models.interop.names import NETWORKS_OF, export, load_foreign
