"""From an opened model to images: the walk, the noise, the images."""
