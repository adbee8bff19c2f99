"""Images: uint8 in, [-1, 1] out."""
