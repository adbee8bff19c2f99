"""Networks, one file each, and the blocks that they share."""

from models.networks.adm import ADM
from models.networks.ddpm import UNet
from models.networks.dhariwal import DhariwalUNet
from models.networks.dit import DiT
from models.networks.edm2 import EDM2
from models.networks.ncsnpp import NCSNpp
from models.networks.song import SongUNet
from models.parts import NETWORKS
