"""Learning-rate anneals: (images seen, images of the whole training) -> factor of the rate."""

from functions.anneals.inverse_sqrt import inverse_sqrt
from functions.anneals.to_zero import cosine, linear
from functions.parts import ANNEALS
