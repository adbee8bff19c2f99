"""Weights of other programs: the DDIM repository, converted DDPM models, diffusers.

Only names change, and 1x1 convolutions become dense layers; no number does.
"""

from models.interop.files import read
from models.interop.names import LAYOUTS, export, load_foreign
