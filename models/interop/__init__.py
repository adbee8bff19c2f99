"""Weights of other programs: DDIM repository, converted DDPM models, diffusers, guided-diffusion.

Only names change, and 1x1 convolutions become dense layers; no number does.
"""

from models.interop.files import read
from models.interop.names import LAYOUTS, NETWORK_OF, export, load_foreign
