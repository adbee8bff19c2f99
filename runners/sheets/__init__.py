"""Several images on one picture, with words around them."""
